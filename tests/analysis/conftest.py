"""Real records for what reads them: tiny runs, made once."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import yaml

from interlude.simulator.record.reader import RunRecord
from interlude.simulator.run.experiment import run_scenario
from interlude.simulator.scenario.loading import parse_scenario
from interlude.simulator.sweep import load_sweep

Make = Callable[..., list[RunRecord]]


@pytest.fixture(scope="session")
def make_runs(tmp_path_factory: pytest.TempPathFactory, scenario_with: Callable[..., dict[str, Any]]) -> Make:
    """Return a function that runs the tiny scenario, changed, once per seed, into one parent for all of the session."""
    runs = tmp_path_factory.mktemp("runs")

    def make(changes: Mapping[str, Any], seeds: int = 1, *, timing_only: bool = True) -> list[RunRecord]:
        given = [scenario_with({**changes, "seed": seed}) for seed in range(seeds)]
        return [
            record
            for one in given
            for record in run_scenario(parse_scenario(one), runs=runs, device="cpu", timing_only=timing_only)
        ]

    return make


@pytest.fixture(scope="session")
def trained(make_runs: Make) -> list[RunRecord]:
    """Two methods, three seeds each, 10 simulated seconds, with accuracies and a target that some reach."""
    changes = {
        "name": "trained",
        "methods": [{"name": "fedavg"}, {"name": "mba"}],
        "until": {"simulated_s": 10},
        "evaluate": {"every_s": 2, "target_accuracy": 0.2},
    }
    return make_runs(changes, 3, timing_only=False)


@pytest.fixture(scope="session")
def timed(make_runs: Make) -> list[RunRecord]:
    """Two methods without training."""
    return make_runs({"name": "timed", "methods": [{"name": "fedavg"}, {"name": "mba"}]})


@pytest.fixture(scope="session")
def grid(make_runs: Make) -> list[RunRecord]:
    """MBA with two values of beta and of gamma, at two numbers of clients."""
    methods = [
        {"name": "mba", "label": f"b{beta}-g{gamma}", "beta": beta, "gamma": gamma}
        for beta in (0, 2)
        for gamma in (0, 1)
    ]
    short = {"methods": methods, "until": {"simulated_s": 6}, "evaluate": {"every_s": 6}}
    return [
        record
        for count in (2, 4)
        for record in make_runs({**short, "name": f"grid-{count}", "clients.count": count}, timing_only=False)
    ]


@pytest.fixture(scope="session")
def swept(tmp_path_factory: pytest.TempPathFactory, scenario_with: Callable[..., dict[str, Any]]) -> list[RunRecord]:
    """A sweep over two values of MBA's beta and of its gamma."""
    folder = tmp_path_factory.mktemp("swept")
    block = {"methods.mba.beta": [0, 2], "methods.mba.gamma": [0, 1]}
    short = {"methods": [{"name": "mba"}], "until": {"simulated_s": 4}, "evaluate": {"every_s": 4}, "sweep": block}
    (folder / "tiny.yaml").write_text(yaml.safe_dump(scenario_with(short), sort_keys=False))
    scenarios = load_sweep(folder / "tiny.yaml").scenarios
    return [record for scenario in scenarios for record in run_scenario(scenario, runs=folder, device="cpu")]
