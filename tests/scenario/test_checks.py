"""A scenario that does not fit its data set gets one sentence once that is loaded; reading the YAML loads nothing."""

import sys

import numpy as np
import pytest

import interlude
from interlude.simulator.cli.main import main
from interlude.simulator.data.loading import load_dataset
from interlude.simulator.errors import CannotRunError
from interlude.simulator.run.build import build_testbed
from interlude.simulator.scenario.checks import check
from interlude.simulator.scenario.loading import load_scenario, parse_scenario


def misfit_of(scenario_with, changes):
    """Return the one sentence with which a scenario that parses is refused."""
    scenario = parse_scenario(scenario_with(changes))
    with pytest.raises(CannotRunError) as caught:
        check(scenario, load_dataset(scenario.data, scenario.seed))
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("modalities", "said"),
    [
        ({"grey": 0.5}, ["unknown modality 'grey'", "mean 'gray'"]),
        ({"gray": 0, "color": 0}, ["no client would hold any modality"]),
    ],
)
def test_shares_of_modalities_that_fit_no_client_are_named(scenario_with, modalities, said):
    message = misfit_of(scenario_with, {"clients.modalities": modalities})
    assert message.startswith("clients.modalities: ")
    assert all(part in message for part in said)


def test_a_modality_without_an_arrival_model_is_named(scenario_with, removed):
    message = misfit_of(scenario_with, {"world.arrival.color": removed})
    assert "world.arrival: modality 'color' has no entry" in message
    assert "each of gray, color needs an arrival model" in message


def test_a_modality_without_an_encoder_is_named(scenario_with):
    message = misfit_of(scenario_with, {"model.encoder": {"gray": "mlp"}})
    assert "model.encoder: modality 'color' has no entry" in message


@pytest.mark.parametrize(("name", "hint"), [("grey", "did you mean 'gray'"), ("audio", "gray, color")])
def test_an_unknown_modality_is_answered_with_the_data_sets(scenario_with, name, hint):
    arrival = {"per_client": {"distribution": "constant", "value_s": 1.0}}
    message = misfit_of(scenario_with, {f"world.arrival.{name}": arrival})
    assert f"world.arrival: unknown modality '{name}'" in message
    assert "modalities are gray, color" in message
    assert hint in message


@pytest.mark.parametrize("partition", [{"kind": "iid"}, {"kind": "dirichlet", "alpha": 2.0}])
def test_more_clients_than_samples_is_named(scenario_with, partition):
    message = misfit_of(scenario_with, {"clients.count": 2000, "data.partition": partition})
    assert message.startswith("clients.count: 2000 clients")
    assert "1347" in message


@pytest.mark.parametrize("command", ["run", "check", "sweep"])
def test_a_command_names_the_scenarios_file(scenario_file, tmp_path, capsys, command):
    path = scenario_file({"clients.count": 2000})
    more = {"run": ["--runs", str(tmp_path / "runs")], "sweep": ["--seeds", "0", "--runs", str(tmp_path / "runs")]}
    with pytest.raises(SystemExit) as ended:
        main([command, str(path), *more.get(command, [])])
    assert ended.value.code == 2
    error = " ".join(capsys.readouterr().err.split())
    assert f"{path}: clients.count: 2000 clients" in error
    assert not (tmp_path / "runs").exists()


def test_reading_a_scenario_opens_no_file_of_its_data_set(scenario_file, tmp_path, monkeypatch):
    """A scenario parses where its data set is missing: only a run, a check or a sweep of it loads any."""

    def refuse(*_):
        raise AssertionError("a data set is loaded while a scenario is read")

    monkeypatch.setenv("INTERLUDE_DATA", str(tmp_path / "nowhere"))
    for module in [module for name, module in sys.modules.items() if name.startswith("interlude.")]:
        if hasattr(module, "load_dataset"):
            monkeypatch.setattr(module, "load_dataset", refuse)
    assert load_scenario(scenario_file()).data.dataset == "cg-digits"
    missing = scenario_file({"data": {"dataset": "uci-har", "partition": {"kind": "iid"}}}, "missing.yaml")
    assert load_scenario(missing).data.dataset == "uci-har"


@interlude.dataset
def gray_alone():
    """Return a training and a test set of one modality."""
    samples = {"gray": np.zeros((20, 3), dtype=np.float32), "label": np.arange(20) % 2}
    return samples, samples


@pytest.mark.parametrize("method", ["bmsfed", "fedcmi"])
def test_a_method_that_compares_modalities_needs_two(method, scenario_with):
    constant = {"per_client": {"distribution": "constant", "value_s": 1.0}}
    given = scenario_with(
        {
            "data": {"dataset": f"{__name__}:gray_alone"},
            "world.arrival": {"gray": constant},
            "methods": [{"name": "fedavg"}, {"name": method}],
        }
    )
    with pytest.raises(CannotRunError) as caught:
        build_testbed(parse_scenario(given))
    assert str(caught.value) == (
        f"methods.1.name: {method} needs at least 2 modalities, but the data set has only gray"
    )
