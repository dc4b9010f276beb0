"""Mistakes that other simulators of federated learning have made: ties, staleness, host time, shared generators."""

import ast
import random
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from interlude.simulator.methods.fedasync import FedAsync

ROOT = Path(__file__).parents[2]
FILES = sorted(path for room in ("simulator", "models") for path in (ROOT / room).rglob("*.py"))

AT_ONCE = {"gray": (0.0,) * 100, "color": (0.0,) * 100}
ON_ARRIVAL = {"name": "fedasync", "server": {"rule": "on_arrival"}}


def in_room(path):
    return path.relative_to(ROOT).as_posix()


# --- the clock -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("server", [{"rule": "barrier"}, {"rule": "on_arrival"}, {"rule": "buffered"}], ids=str)
def test_a_hundred_equal_clients_tie_the_same_way_every_time(paper, server):
    logs = [
        paper({"name": "fedavg", "server": server}, 12.0, delays_s=AT_ONCE, step_s=(1.0,) * 100, first_idle_first=False)
        for _ in range(3)
    ]
    assert logs[0].rows == logs[1].rows == logs[2].rows
    assert len(logs[0].merges) >= 200


def test_two_overlapping_jobs_of_10_s_end_at_10_s(paper):
    played = paper(ON_ARRIVAL, 10.0, delays_s=AT_ONCE, step_s=(5.0, 5.0), down_s=0.0, up_s=0.0)
    lasting = [span for span in played.spans if span[2] < span[3]]  # transfers take no time, and are noted
    assert lasting == [(0, "train", 0, 10, 0, "gray+color"), (1, "train", 0, 10, 0, "gray+color")]


def test_a_client_in_flight_is_not_dispatched(paper):
    """Client 1 trains for 40 s; all the while client 0 goes round and round alone."""
    played = paper(ON_ARRIVAL, 20.0, delays_s=AT_ONCE, step_s=(1.0, 20.0))
    assert [client for client, activity, *_ in played.spans if activity == "download"].count(1) == 1
    assert [client for client, *_ in played.merges] == [0] * 5


def test_a_client_that_was_dropped_is_idle_again(paper):
    entry = {"name": "fedasync", "server": {"rule": "on_arrival", "concurrency": 1}}
    played = paper(entry, 12.0, delays_s=AT_ONCE, step_s=(1.0, 1.0), lost={(0, 0): 0.5})
    in_time = sorted(played.spans, key=lambda span: span[2])
    assert [(client, activity) for client, activity, *_ in in_time if activity.startswith("upload")] == [
        (0, "upload lost"),
        (1, "upload"),
        (0, "upload"),
    ]


def test_staleness_counts_versions_not_updates(paper):
    """Six updates come back while client 2 trains; in buffers of two they are three versions."""
    delays_s = {"gray": (1.0, 1.0, 1.0), "color": (1.0, 1.0, 1.0)}
    entry = {"name": "fedbuff", "server": {"rule": "buffered", "size": 2}}
    played = paper(entry, 18.0, delays_s=delays_s, step_s=(1.0, 1.25, 6.0))
    # 0 comes back at 4, 8, 12, 16 s; 1 at 4.5, 9, 13.5, 18 s; 2 at 14 s, so that its buffer holds {1, 2}, {0, ...}
    by_client_2 = [(at_s, version, staleness) for client, at_s, version, staleness in played.merges if client == 2]
    assert by_client_2 == [(16.0, 4, 3)]


def test_idle_clients_cost_no_events(paper):
    def num_events(num_clients):
        arrives = (1.0,) * num_clients
        entry = {"name": "fedasync", "server": {"rule": "on_arrival", "concurrency": 3}}
        played = paper(
            entry,
            50.0,
            delays_s={"gray": arrives, "color": arrives},
            step_s=arrives,
            first_idle_first=False,
        )
        return played.clock.num_events

    assert num_events(100_000) == num_events(10) < 500


# --- what is trained and merged --------------------------------------------------------------------------------------


def test_training_starts_from_the_model_of_the_dispatch_however_late_it_is_computed(paper):
    """Results are computed at the merge; by then the server has a newer model, which must not leak in."""
    made, started_right, staleness = [], [], []

    class Noting(FedAsync):
        def merge(self, model, memory, updates):
            if not made:
                made.append(model)  # version 0
            (update,) = updates
            version = len(made) - 1
            started_right.append(update.start is made[version - update.staleness])
            staleness.append(update.staleness)
            made.append(super().merge(model, memory, updates))
            return made[-1]

    delays_s = {"gray": (1.0, 1.0, 3.0), "color": (1.0, 2.0, 1.0)}
    played = paper(ON_ARRIVAL, 20.0, delays_s=delays_s, trains=True, method=Noting)
    assert len(started_right) == len(played.merges) >= 8
    assert max(staleness) >= 2
    assert all(started_right)


# --- host time, global randomness, standard input --------------------------------------------------------------------

MAY_READ_THE_HOSTS_CLOCK = {
    "simulator/run/loop.py", "simulator/cli/progress.py", "simulator/calibrate/bench.py", "simulator/files.py",
    "simulator/calibrate/speed.py",
    "simulator/sweep/worker.py", "simulator/sweep/local.py", "simulator/run/checkpointer.py", "simulator/cli/bars.py",
    "simulator/cli/sweep_progress.py", "simulator/record/lock.py",
}  # fmt: skip
CLOCKS = {"time", "datetime", "timeit"}
STREAMS = {"Generator", "Philox"}
TORCH_DRAWS = {
    "bernoulli", "multinomial", "normal", "poisson", "rand", "rand_like", "randint", "randint_like", "randn",
    "randn_like", "randperm",
}  # fmt: skip


def imported_modules(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.partition(".")[0]


def dotted(node):
    """Return ``np.random.rand`` of such an expression, or nothing of another."""
    if isinstance(node, ast.Attribute) and (owner := dotted(node.value)):
        return f"{owner}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def global_draws(tree):
    """Yield calls that draw from, or seed, a global generator."""
    for node in ast.walk(tree):
        name = dotted(node)
        if name.startswith(("np.random.", "numpy.random.")) and name.split(".")[2] not in STREAMS:
            yield name
        if name in {"torch.manual_seed", "torch.seed", "torch.random", "torch.cuda.manual_seed"}:
            yield name
        if isinstance(node, ast.Call):
            called, keywords = dotted(node.func), {keyword.arg for keyword in node.keywords}
            is_draw = called.startswith("torch.") and called.split(".")[-1] in TORCH_DRAWS
            is_init = ".init." in called and called.endswith(("normal_", "uniform_", "orthogonal_"))
            in_place = isinstance(node.func, ast.Attribute) and node.func.attr in {"normal_", "uniform_", "random_"}
            if (is_draw or is_init or in_place) and "generator" not in keywords:
                yield called
            if called == "train_test_split" and "random_state" not in keywords:
                yield called


@pytest.mark.parametrize("path", FILES, ids=in_room)
def test_the_hosts_clock_is_read_only_where_it_is_reported(path):
    imported = set(imported_modules(ast.parse(path.read_text(encoding="utf-8"))))
    assert in_room(path) in MAY_READ_THE_HOSTS_CLOCK or not imported & CLOCKS


@pytest.mark.parametrize("path", FILES, ids=in_room)
def test_nothing_draws_from_a_global_generator(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert list(global_draws(tree)) == []
    assert not {"random", "secrets", "uuid"} & set(imported_modules(tree))


@pytest.mark.parametrize(
    "line", ["np.random.rand(3)", "torch.randn(3)", "torch.manual_seed(0)", "nn.init.xavier_normal_(w)", "x.normal_()"]
)
def test_a_global_draw_would_be_noticed(line):
    assert list(global_draws(ast.parse(line))) != []


@pytest.mark.parametrize("path", FILES, ids=in_room)
def test_nothing_reads_standard_input(path):
    names = [dotted(node) for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))]
    asks = ("input", "sys.stdin", "getpass", "typer.prompt", "typer.confirm", "Prompt.ask", "Confirm.ask")
    assert [name for name in names if name.endswith(asks) and not name.endswith("_input")] == []


def global_states():
    return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()  # noqa: NPY002


def test_a_run_leaves_the_global_generators_alone_and_does_not_depend_on_them(wild, run):
    scenario = wild({"name": "mba"}, until={"simulated_s": 8})
    (one,) = run(scenario, timing_only=False, afresh=True)
    torch.manual_seed(12345)
    np.random.seed(12345)  # noqa: NPY002
    random.seed(12345)
    before = global_states()
    (other,) = run(scenario, timing_only=False, afresh=True)
    assert global_states() == before
    assert (one.path / "metrics.csv").read_bytes() == (other.path / "metrics.csv").read_bytes()


class NeverRead:
    def __getattr__(self, name):
        raise AssertionError(f"standard input was asked for {name}")


def test_a_run_does_not_touch_standard_input(wild, run, monkeypatch):
    monkeypatch.setattr(sys, "stdin", NeverRead())
    (record,) = run(wild({"name": "fedavg"}, until={"simulated_s": 5}), timing_only=False, afresh=True)
    assert record.is_complete


def test_time_does_not_follow_the_host(wild, run, monkeypatch):
    """A host that trains a thousand times slower, by its own clock, gives the same record."""
    scenario = wild({"name": "fedasync"}, until={"simulated_s": 6})
    (one,) = run(scenario, timing_only=False, afresh=True)
    ticks = iter(range(0, 10**9, 1000))
    monkeypatch.setattr("interlude.simulator.run.loop.time.perf_counter", lambda: float(next(ticks)))
    (other,) = run(scenario, timing_only=False, afresh=True)
    assert one.timeline.equals(other.timeline)
    assert one.metrics.equals(other.metrics)
    assert other.info["totals"]["host_s"] >= 1000.0
