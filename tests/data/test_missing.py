"""Samples that lack a modality: drawn at its rate, and zeros in place of its features."""

import numpy as np
import pytest
import torch

from interlude import parse_scenario, run_scenario
from interlude.models.decomposed import DecomposedNetwork
from interlude.models.inputs import InputSpec, Reader
from interlude.models.network import Network
from interlude.models.spec import ModelSpec
from interlude.simulator.data.dataset import Dataset
from interlude.simulator.data.folder import FolderSpec
from interlude.simulator.data.loading import load_dataset
from interlude.simulator.data.missing import with_missing
from interlude.simulator.errors import BadInputError
from interlude.simulator.run.build import build_testbed

SIGHT = InputSpec((1, 2, 2), mean=(0.5,), std=(0.25,))
WORDS = InputSpec((3,), num_tokens=5)


def mixed(num_samples):
    def split():
        inputs = {
            "sight": torch.randint(256, (num_samples, 1, 2, 2), dtype=torch.uint8),
            "words": torch.randint(1, 5, (num_samples, 3), dtype=torch.int32),
            "motion": torch.randn(num_samples, 4),
        }
        return inputs, torch.zeros(num_samples, dtype=torch.int64)

    return Dataset(split(), split(), 1, {"sight": SIGHT, "words": WORDS})


def test_each_modality_is_lacked_at_its_rate_and_the_test_is_whole():
    whole = mixed(2_000)
    given = with_missing(whole, {"sight": 0.3, "words": 0.6, "motion": 0.0}, seed=1, memory_bytes=1e9)
    lacks = {
        "sight": given.train[0]["sight"].isnan().flatten(1).all(dim=1),
        "words": ~given.train[0]["words"].any(dim=1),
    }
    shares = {modality: float(found.float().mean()) for modality, found in lacks.items()}
    assert shares == {"sight": pytest.approx(0.3, abs=0.03), "words": pytest.approx(0.6, abs=0.03)}
    read = Reader(SIGHT)(whole.train[0]["sight"])  # bytes as the network reads them
    assert given.train[0]["sight"][~lacks["sight"]].equal(read[~lacks["sight"]])
    assert given.test[0]["sight"].equal(Reader(SIGHT)(whole.test[0]["sight"]))
    assert given.train[0]["motion"] is whole.train[0]["motion"]
    assert {m: spec.may_lack for m, spec in given.inputs.items()} == {"sight": True, "words": True, "motion": False}
    again = with_missing(whole, {"sight": 0.3}, seed=1, memory_bytes=1e9).train[0]["sight"]
    assert again.isnan().equal(given.train[0]["sight"].isnan())  # whatever else is lacked


def test_features_of_a_sample_that_lacks_a_modality_are_zeros_and_no_gradient_flows_through_it():
    inputs = {"a": InputSpec((4,), may_lack=True), "w": InputSpec((3,), num_tokens=5, may_lack=True)}
    encoders = {"a": "mlp", "w": "text"}
    network = Network(ModelSpec(encoder=encoders, width=6), inputs, 3)
    parameters = dict(network.initial_parameters(torch.Generator().manual_seed(0), torch.device("cpu")))
    parameters = {name: value.requires_grad_() for name, value in parameters.items()}
    a, w = torch.randn(3, 4), torch.tensor([[1, 2, 0], [0, 0, 0], [3, 0, 0]], dtype=torch.int32)
    lacking = a.clone()
    lacking[0] = torch.nan
    features, whole = network.features(parameters, {"a": lacking, "w": w}), network.features(parameters, {"a": a})
    assert features["a"][0].tolist() == [0.0] * 6
    assert features["w"][1].tolist() == [0.0] * 6
    assert features["a"][1:].equal(whole["a"][1:])
    network(parameters, {"a": lacking, "w": w}).logits.square().sum().backward()
    assert all(value.grad is None or value.grad.isfinite().all() for value in parameters.values())


def test_rates_in_a_scenario_change_training_and_nothing_else(tmp_path, scenario_with):
    def run(name, missing):
        operations = {"flops_each": 1e5}  # what hides a lack is no work of a device
        changes = {"name": name, "data.missing": missing, "methods": [{"name": "mba"}]}
        changes["world.compute.operations"] = operations
        return run_scenario(parse_scenario(scenario_with(changes)), runs=tmp_path, device="cpu", workers=1)[0]

    whole, lacking = run("whole", {"gray": 0.0}), run("lacking", {"gray": 0.5, "color": 0.1})
    assert whole.info["totals"]["order_sha256"] == lacking.info["totals"]["order_sha256"]
    first, last = (record.metrics.query("metric == 'loss'")["value"].iloc[[0, -1]] for record in (whole, lacking))
    assert first.iloc[0] == last.iloc[0]
    assert first.iloc[1] != last.iloc[1]


def test_both_projections_of_a_sample_that_lacks_a_modality_are_zeros():
    network = DecomposedNetwork(ModelSpec(encoder="mlp", width=6), {"a": InputSpec((4,), may_lack=True)}, 3)
    parameters = {name: torch.full(shape.shape, 0.1) for name, shape in network.shapes.items()}
    x = torch.tensor([[1.0] * 4, [torch.nan] * 4])
    both = network.project(parameters, {"a": x})
    for projection in (both.own["a"], both.infiltration["a"], network.features(parameters, {"a": x})["a"]):
        assert projection[0].abs().min() > 0
        assert projection[1].tolist() == [0.0] * 6


def test_arrays_say_by_nan_what_samples_lack(tmp_path):
    numbers = np.ones((4, 3), np.float32)
    lacking = numbers.copy()
    lacking[1] = np.nan

    def load(**train):
        np.savez(tmp_path / "train.npz", label=np.array([0, 1, 0, 1]), **train)
        np.savez(tmp_path / "test.npz", label=np.array([0, 1, 0, 1]), a=numbers, b=numbers)
        return load_dataset(FolderSpec(dataset="folder", path=tmp_path), 0)

    assert {m: given.may_lack for m, given in load(a=numbers, b=lacking).inputs.items()} == {"a": False, "b": True}
    lacking[2, 0] = np.nan
    with pytest.raises(BadInputError, match="'b': sample 2 has values that are not finite"):
        load(a=numbers, b=lacking)
    with pytest.raises(BadInputError, match="no sample has 'b': all of its values are NaN"):
        load(a=numbers, b=np.full((4, 3), np.nan, np.float32))


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        ({"grey": 0.0}, "data.missing: unknown modality 'grey'; the data set's modalities are gray, color"),
        ({"grey": 0.1}, "data.missing: unknown modality 'grey'; the data set's modalities are gray, color"),
        ({"gray": 1.0}, r"data\.missing\.gray: should be less than 1; given 1"),
    ],
)
def test_a_bad_rate_is_one_sentence(missing, said, scenario_with):
    with pytest.raises(BadInputError, match=said):
        build_testbed(parse_scenario(scenario_with({"data.missing": missing})))
