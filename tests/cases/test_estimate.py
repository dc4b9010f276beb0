"""The estimate before a run is near what the run comes to, in worlds whose first moments are not typical."""

from itertools import pairwise

import pytest
import torch

from interlude import parse_scenario, run_scenario
from interlude.simulator.cli.main import main
from interlude.simulator.errors import CannotRunError
from interlude.simulator.run.build import build_testbed
from interlude.simulator.run.estimate import estimate

CPU = torch.device("cpu")
FAST = {
    "data.partition": {"kind": "iid"},
    "model.width": 4,
    "training.window_samples": 8,
    "evaluate.every_s": 20,
    "world.compute": {"throughput_gflops": {"distribution": "lognormal", "median": 0.05, "sigma": 0.5}},
}
LATE = {
    "clients.count": 60,
    "world.availability": {"kind": "always", "join_s": {"distribution": "uniform", "low": 0, "high": 150}},
    "until.simulated_s": 150,
}
SHORT = {"kind": "markov", "mean_on_s": 20, "mean_off_s": 20}
WORLDS = {
    "joining": LATE,
    "joining, many": {**LATE, "clients.count": 300, "until.simulated_s": 60},
    "daily": {
        "clients.count": 40,
        "world.availability": {"kind": "daily", "on_share": 0.3, "period_s": 120, "jitter_s": 10},
        "until.simulated_s": 400,
    },
    "markov": {"clients.count": 40, "world.availability": {**SHORT, "policy": "lose"}, "until.simulated_s": 200},
    "outage": {
        "clients.count": 30,
        "world.faults.outages": {"kind": "windows", "windows_s": [[200, 400]]},
        "until.simulated_s": 500,
    },
    "versions": {"clients.count": 30, "world.availability": SHORT, "until": {"versions": 3000}},
}


def assert_near(scenario, runs):
    testbed = build_testbed(scenario)
    for found, record in zip(
        estimate(testbed, CPU, timing_only=True),
        run_scenario(testbed, runs=runs, device="cpu", timing_only=True),
        strict=True,
    ):
        totals, sent = record.info["totals"], record.timeline["bytes"].sum()
        label = found.needs.label
        assert found.needs.events == pytest.approx(totals["events"], rel=0.3), label
        assert found.local_rounds == pytest.approx(totals["local_rounds"], rel=0.3), label
        assert found.versions == pytest.approx(totals["versions"], rel=0.3), label
        assert found.num_bytes == pytest.approx(sent, rel=0.3), label
        assert found.needs.simulated_s == pytest.approx(totals["simulated_s"], rel=0.3), label


@pytest.mark.parametrize("world", WORLDS)
def test_a_world_whose_start_is_not_typical(scenario_with, tmp_path, world):
    changes = {**FAST, **WORLDS[world], "methods": [{"name": "fedasync"}]}
    assert_near(parse_scenario(scenario_with(changes)), tmp_path)


def test_intervals_of_a_file_that_begin_late(scenario_with, tmp_path):
    """40 devices, each first on after 2 s more than the one before, then on for 15 s and off for 5 s."""
    rows = [f"d{device},{start_s},{start_s + 15}" for device in range(40) for start_s in range(2 * device, 100, 20)]
    (tmp_path / "on.csv").write_text("device,on_s,off_s\n" + "\n".join(rows) + "\n")
    there = {"kind": "intervals", "file": str(tmp_path / "on.csv")}
    changes = {**FAST, "clients.count": 300, "world.availability": there, "until.simulated_s": 60}
    assert_near(parse_scenario(scenario_with({**changes, "methods": [{"name": "fedasync"}]})), tmp_path / "runs")


def test_stragglers_deadlines_and_over_selection(scenario_with, tmp_path):
    slow = {"world.compute.stragglers": {"probability": 0.1, "slowdown": 20}}
    methods = [
        {"name": "fedavg", "label": "all"},
        {"name": "fedavg", "label": "deadline", "server": {"deadline_s": 15}},
        {"name": "fedavg", "label": "over", "server": {"clients_per_round": 10, "over_selection": 1.3}},
    ]
    changes = {**FAST, **slow, "clients.count": 40, "until.simulated_s": 600, "methods": methods}
    assert_near(parse_scenario(scenario_with(changes)), tmp_path)


def test_a_run_that_is_beyond_its_limit_is_refused_before_it_begins(scenario_with, tmp_path):
    """Nearly all clients join after the first moments, whose pace alone would be far below the limit."""
    changes = {**FAST, **LATE, "clients.count": 200, "methods": [{"name": "fedasync"}], "limits.events": 6_000}
    with pytest.raises(CannotRunError, match=r"limits\.events: 'fedasync' needs about"):
        run_scenario(parse_scenario(scenario_with(changes)), runs=tmp_path, device="cpu", timing_only=True)
    assert not any(tmp_path.iterdir())


def test_check_shows_one_set_of_numbers(scenario_file, capsys):
    """A client's local round is one event of the clock or more, so events are never fewer than local rounds."""
    path = scenario_file({**FAST, **LATE, "methods": [{"name": "fedasync"}]})
    with pytest.raises(SystemExit):
        main(["check", str(path)])
    rows = [line.split() for line in capsys.readouterr().out.splitlines() if line.split()[:1] == ["fedasync"]]
    numbers = [[cell for before, cell in pairwise(row) if before == "~"] for row in rows[:2]]
    versions, local_rounds, events = (float(n.replace(",", "")) for n in (*numbers[0][:2], numbers[1][0]))
    assert versions == local_rounds < events
