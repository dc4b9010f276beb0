"""The data set that is drawn client by client: addresses, sizes, classes, and what it refuses."""

import pickle

import numpy as np
import pytest
import torch

from interlude import parse_scenario, run_scenario
from interlude.models.drawn import BLOCK, drawn_samples
from interlude.simulator.data.loading import load_dataset
from interlude.simulator.data.synthetic import SyntheticSpec
from interlude.simulator.errors import BadInputError, InterludeError
from interlude.simulator.run.build import build_testbed

MODALITIES = {"audio": {"shape": [6], "noise": 0.3}, "video": {"shape": [2, 3, 3], "noise": 1.0}}
LOGNORMAL = {"distribution": "lognormal", "median": 20, "sigma": 1.0}


def load(**options):
    return load_dataset(SyntheticSpec(modalities=MODALITIES, test_samples=40, **options), 3)


def of_client(dataset, client, shards):
    index = torch.from_numpy(shards[client])
    return {m: x[index] for m, x in dataset.train[0].items()}, dataset.train[1][index]


def scenario(count, data=(), **sections):
    arrival = {"per_client": {"distribution": "constant", "value_s": 1.0}}
    return parse_scenario(
        {
            "name": "drawn",
            "data": {"dataset": "synthetic", "modalities": MODALITIES, "test_samples": 40, **dict(data)},
            "model": {"encoder": {"audio": "mlp", "video": "mlp"}, "width": 8},
            "clients": {"count": count},
            "world": {
                "arrival": {"audio": arrival, "video": arrival},
                "compute": {"throughput_gflops": 1.0},
                "network": {"uplink_mbps": 1.0, "downlink_mbps": 1.0, "latency_ms": 10.0},
            },
            "training": {"batch_size": 16, "optimizer": {"learning_rate": 0.1}},
            "methods": [{"name": "fedavg", "server": {"rule": "barrier", "clients_per_round": 2}}],
            "until": {"versions": 3},
            "evaluate": {"every_s": 1000.0},
            **sections,
        }
    )


def test_a_client_has_the_same_samples_whoever_was_asked_before():
    one, other = load(samples_per_client=LOGNORMAL), load(samples_per_client=LOGNORMAL, seed=3)
    shards = one.drawn.shards(50)
    for client in (7, 3, 7):
        of_client(one, client, shards)
    (inputs, labels), (inputs_again, labels_again) = of_client(one, 41, shards), of_client(other, 41, shards)
    assert torch.equal(labels, labels_again)
    assert torch.equal(labels, torch.from_numpy(one.drawn.labels(41)))
    assert all(torch.equal(inputs[m], inputs_again[m]) for m in MODALITIES)
    assert inputs["video"].shape == (len(shards[41]), 2, 3, 3)
    train = pickle.loads(pickle.dumps(one.train))  # as a worker process is sent it
    assert torch.equal(train[0]["audio"][torch.from_numpy(shards[41])], inputs["audio"])


def test_a_full_pool_begins_anew():
    def make(block):
        return {"x": torch.full((3, 2), float(block))}, torch.arange(3)

    inputs, labels = drawn_samples(make, {"x": (2,)}, num_bytes=5 * 16)
    for block in (4, 9, 4):
        index = torch.tensor([[block * BLOCK + 2], [block * BLOCK]])
        assert inputs["x"][index].tolist() == [[[block, block]], [[block, block]]]
        assert labels[index].tolist() == [[2], [0]]
    assert inputs["x"][torch.tensor([BLOCK, 2 * BLOCK, 3 * BLOCK])][:, 0].tolist() == [1, 2, 3]  # more than it holds


def test_shards_of_a_million_clients_are_computed_when_they_are_asked_for():
    shards = load(samples_per_client=LOGNORMAL).drawn.shards(1_000_000)
    few = load(samples_per_client=LOGNORMAL).drawn.shards(10)
    assert len(shards) == 1_000_000
    assert np.array_equal(shards.sizes[:10], few.sizes)
    assert shards[999_999][0] == 999_999 * BLOCK
    assert [len(shard) for shard in shards[:10]] == few.sizes.tolist()
    assert np.median(shards.sizes) == pytest.approx(20, abs=1)


def test_noise_says_how_hard_a_modality_is():
    inputs, labels = load().test
    means = {m: torch.stack([inputs[m][labels == c].mean(0) for c in range(10)]) for m in MODALITIES}
    nearest = {m: torch.cdist(inputs[m].flatten(1), means[m].flatten(1)).argmin(1) for m in MODALITIES}
    assert (nearest["audio"] == labels).sum() > (nearest["video"] == labels).sum()


def test_a_dirichlet_partition_skews_each_clients_classes():
    even, skewed = load(), load(partition={"kind": "dirichlet", "alpha": 0.05})
    most = [max(np.bincount(dataset.drawn.labels(5), minlength=10)) for dataset in (even, skewed)]
    assert most[0] < 20
    assert most[1] > 40


@pytest.mark.parametrize(
    ("data", "evaluate", "says"),
    [
        ({"partition": {"kind": "label_shards"}}, {}, "iid or dirichlet"),
        ({"modalities": {"fused": {"shape": [3]}}}, {}, "fused"),
        ({"samples_per_client": {"distribution": "uniform", "low": 9, "high": 3}}, {}, "below low"),
        ({}, {"validation": 0.1}, "evaluate.validation"),
        ({}, {"nearest_mean_samples": 5}, "evaluate.nearest_mean_samples"),
    ],
)
def test_what_it_refuses(data, evaluate, says):
    with pytest.raises(InterludeError, match=says):
        build_testbed(scenario(4, data, evaluate={"every_s": 10.0, **evaluate}))


def test_more_clients_than_can_be_numbered_are_refused():
    with pytest.raises(BadInputError, match=r"clients\.count"):
        load().drawn.shards(1 << 23)


def test_it_is_trained_on(tmp_path):
    (record,) = run_scenario(scenario(4), runs=tmp_path, device="cpu", workers=1)
    accuracy = record.metrics.query("metric == 'accuracy' and modality == 'fused'")["value"]
    assert accuracy.iloc[-1] > accuracy.iloc[0]
    assert record.partition["count"].sum() == 4 * 64


def test_a_timing_only_run_draws_no_sample(tmp_path):
    (record,) = run_scenario(scenario(3_000), runs=tmp_path, device="cpu", timing_only=True)
    assert record.info["totals"]["local_rounds"] == 6
    assert record.partition.empty
