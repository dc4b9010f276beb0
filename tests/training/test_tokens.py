"""Token numbers through every method: the batched executor and its recordings equal the reference."""

from typing import Literal

import pytest
import torch
from every_method import EVERY_METHOD, TRAINS_ITS_OWN_WAY

from interlude import parse_scenario, run_scenario
from interlude.models.inputs import InputSpec
from interlude.simulator.data import DATASETS
from interlude.simulator.data.dataset import Dataset
from interlude.simulator.data.source import Source
from interlude.simulator.data.spec import DataSpec
from interlude.simulator.training.stacked import recording

NUM_TOKENS, LENGTH = 12, 5


class MemosSpec(DataSpec):
    dataset: Literal["memos"] = "memos"


def memos(_spec):
    """Return short texts, some of them empty, and two numbers; a third of the vocabulary stands for each class."""
    generator = torch.Generator().manual_seed(0)

    def samples(num):
        labels = torch.randint(3, (num,), generator=generator)
        words = 1 + 3 * torch.randint(3, (num, LENGTH), generator=generator) + labels[:, None]
        lengths = torch.randint(LENGTH + 1, (num, 1), generator=generator)
        text = torch.where(torch.arange(LENGTH) < lengths, words, 0).to(torch.int32)
        level = labels[:, None] + torch.randn(num, 2, generator=generator)
        return {"text": text, "level": level}, labels

    stored = {"text": InputSpec((LENGTH,), num_tokens=NUM_TOKENS)}
    return Dataset(train=samples(80), test=samples(40), num_classes=3, stored=stored)


@pytest.fixture
def scenario_of(scenario_with, monkeypatch):
    monkeypatch.setitem(DATASETS, "memos", Source(MemosSpec, memos, "short texts"))
    monkeypatch.setattr(recording, "_USES_BEFORE_RECORDING", 0)
    arrival = {"per_client": {"distribution": "constant", "value_s": 2.0}}

    def scenario(method, **executor):
        changes = {
            "data": {"dataset": "memos", "partition": {"kind": "iid"}},
            "model": {"encoder": {"text": "text", "level": "mlp"}, "width": 6},
            "clients": {"count": 4, "multimodal_fraction": 0.5},
            "world.arrival": {"text": arrival, "level": arrival},
            "training": {"batch_size": 16, "local_epochs": 1, "optimizer": {"learning_rate": 0.1, "momentum": 0.5}},
            "methods": [method],
            "executor": executor,
            "until": {"simulated_s": 8},
            "evaluate": {"every_s": 4},
        }
        return parse_scenario(scenario_with(changes))

    return scenario


CASES = [*((method, "stacked") for method in TRAINS_ITS_OWN_WAY), ("fedavg", "looped"), ("mba", "looped")]


@pytest.mark.parametrize(("method", "strategy"), CASES)
def test_every_method_trains_on_tokens_as_the_reference_does(method, strategy, scenario_of, tmp_path):
    losses, orders = [], set()
    for executor in ({"kind": "sequential"}, {"strategy": strategy}):
        runs = tmp_path / str(len(losses))
        (record,) = run_scenario(scenario_of(EVERY_METHOD[method], **executor), runs=runs, device="cpu", workers=1)
        losses.append(record.metrics.query("metric == 'loss'")["value"].tolist())
        orders.add(record.info["totals"]["order_sha256"])
    assert losses[0][-1] != losses[0][0]
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)
    assert len(orders) == 1
