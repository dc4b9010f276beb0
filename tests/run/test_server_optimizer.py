"""Server optimisers in whole runs: under every rule, resumed, and no trace of one that is unset."""

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from interlude import BadInputError, parse_scenario, run_scenario
from interlude.simulator.record.checkpoint import read
from interlude.simulator.run.build import build_testbed, executor_and_model
from interlude.simulator.run.spec import run_specs

RULES = {
    "barrier": {"rule": "barrier", "clients_per_round": 2},
    "on_arrival": {"rule": "on_arrival"},
    "buffered": {"rule": "buffered", "size": 2},
}
ENTRIES = {
    **{f"fedavg-{name}": {"name": "fedavg", "server": rule} for name, rule in RULES.items()},
    "mba": {"name": "mba", "server": {"rule": "on_arrival"}},
    "ca2fl": {"name": "ca2fl", "server": {"rule": "buffered", "size": 2, "staleness": {"function": "constant"}}},
    "fedmsplit": {"name": "fedmsplit", "server": {"rule": "barrier"}},
    "fedmchain": {"name": "fedmchain", "server": {"rule": "barrier"}},
}


def with_optimizer(entry, kind, **options):
    optimizer = {"kind": kind, **options}
    return {**entry, "label": f"{entry['name']}-{kind}", "server": {**entry["server"], "optimizer": optimizer}}


def model_of(record):
    return load_file(record.path / "model.safetensors")


@pytest.mark.parametrize("name", ENTRIES)
def test_sgd_of_rate_1_is_no_optimizer_and_adam_is_one(name, scenario_with, tmp_path):
    entry = ENTRIES[name]
    methods = [entry, with_optimizer(entry, "sgd"), with_optimizer(entry, "adam")]
    changes = {"methods": methods, "until": {"simulated_s": 15}, "clients.multimodal_fraction": 0.5}
    plain, sgd, adam = run_scenario(parse_scenario(scenario_with(changes)), runs=tmp_path, device="cpu", workers=1)
    for other in (sgd, adam):
        pd.testing.assert_frame_equal(plain.timeline, other.timeline)
    pd.testing.assert_frame_equal(plain.metrics, sgd.metrics)
    assert all(torch.equal(value, model_of(sgd)[key]) for key, value in model_of(plain).items())
    assert not any(torch.equal(value, model_of(adam)[key]) for key, value in model_of(plain).items())


@pytest.mark.parametrize("rule", RULES)
def test_the_first_version_by_hand(rule, scenario_with, tmp_path):
    """FedAdagrad: theta + eta Delta / (sqrt(epsilon^2 + Delta^2) + epsilon), Delta = the merge without it - theta."""
    eta, epsilon = 0.5, 0.01
    entry = ENTRIES[f"fedavg-{rule}"]
    methods = [entry, with_optimizer(entry, "adagrad", learning_rate=eta, epsilon=epsilon)]
    scenario = parse_scenario(scenario_with({"methods": methods, "until": {"versions": 1}}))
    plain, stepped = run_scenario(scenario, runs=tmp_path, device="cpu", workers=1)
    spec, _ = run_specs(scenario, tmp_path, torch.device("cpu"), timing_only=False)
    _, initial = executor_and_model(spec, build_testbed(scenario).ingredients(spec.options), None)
    for name, merged in model_of(plain).items():
        delta = merged - initial[name]
        expected = initial[name] + eta * delta / ((epsilon**2 + delta**2).sqrt() + epsilon)
        torch.testing.assert_close(model_of(stepped)[name], expected)


@pytest.mark.parametrize("kind", ["momentum", "yogi"])
@pytest.mark.parametrize("rule", RULES)
def test_a_run_goes_on_with_its_moments(rule, kind, wild, tmp_path, stopped_and_resumed, files_of):
    scenario = wild(with_optimizer(ENTRIES[f"fedavg-{rule}"], kind), until={"simulated_s": 9})
    calm = stopped_and_resumed(scenario, tmp_path / "calm")
    last = calm.info["totals"]["events"]
    stormy = stopped_and_resumed(scenario, tmp_path / "stormy", last // 2, 3 * last // 4)
    assert files_of(stormy) == files_of(calm)


def test_an_optimizer_that_is_unset_leaves_no_trace(wild, tmp_path, stop):
    unset, null = (
        parse_scenario(wild({"name": "fedavg", "server": {"rule": "barrier", **more}}))
        for more in ({}, {"optimizer": None})
    )
    assert "optimizer" not in unset.resolved()["methods"][0]["server"]
    assert unset.digest() == null.digest()
    checkpoints = [
        read(stop(wild(entry, until={"simulated_s": 60}), tmp_path / entry["label"], 25), torch.device("cpu"))
        for entry in ({"name": "fedavg", "label": "unset"}, with_optimizer(ENTRIES["fedavg-barrier"], "adam"))
    ]
    assert [len(checkpoint.state["server"].get("moments", "none")) for checkpoint in checkpoints] == [4, 2]


def test_a_kind_that_there_is_not_is_refused_in_one_sentence(scenario_with):
    entry = with_optimizer(ENTRIES["fedavg-barrier"], "adamw")
    with pytest.raises(BadInputError, match=r"methods\.0\.server\.optimizer: unknown kind 'adamw'") as error:
        parse_scenario(scenario_with({"methods": [entry]}))
    assert "\n" not in str(error.value)
