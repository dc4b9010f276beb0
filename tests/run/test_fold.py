"""A barrier merges results one after the other: few are alive at once, and the bytes are those of all at once."""

import weakref

import pytest

from interlude import parse_scenario, run_scenario
from interlude.simulator.methods.fedavg import FedAvg
from interlude.simulator.training.executors.base import TrainingFuture

LOOPED = {"strategy": "looped"}
EXECUTORS = {
    "looped": LOOPED,
    "stacked": {"strategy": "stacked", "group_size": 3},
    "sequential": {"kind": "sequential"},
}
RULES = {
    "all": {"rule": "barrier"},
    "adam": {"rule": "barrier", "optimizer": {"kind": "adam"}},
    "first": {"rule": "barrier", "clients_per_round": 5, "over_selection": 1.5},
}


def run(wild, runs, rule="all", executor=LOOPED, **training):
    scenario = wild(
        {"name": "fedavg", "server": RULES[rule], "training": training},
        clients={"count": 12},
        until={"versions": 1},
        evaluate={"every_s": 1e6, "samples": 50},
        executor=executor,
    )
    (record,) = run_scenario(parse_scenario(scenario), runs=runs, device="cpu", workers=1)
    return record


@pytest.mark.parametrize(
    ("rule", "executor"), [("all", "sequential"), ("all", "stacked"), ("adam", "looped"), ("first", "looped")]
)
def test_the_model_is_that_of_all_results_at_once_byte_for_byte(wild, tmp_path, monkeypatch, files_of, rule, executor):
    one_by_one = run(wild, tmp_path / "one_by_one", rule, EXECUTORS[executor])
    monkeypatch.setattr(FedAvg, "merges_plainly", False)
    at_once = run(wild, tmp_path / "at_once", rule, EXECUTORS[executor])
    assert files_of(one_by_one) == files_of(at_once)


def most_alive(monkeypatch, make):
    """Return how many results were alive at once, at most, while a run was made."""
    alive: list[weakref.ref] = []
    most = 0
    fulfil = TrainingFuture.fulfil

    def counting(future, value, failure=None):
        nonlocal most
        alive.append(weakref.ref(value.parameters.flat))
        most = max(most, sum(reference() is not None for reference in alive))
        fulfil(future, value, failure)

    monkeypatch.setattr(TrainingFuture, "fulfil", counting)
    make()
    return most


def test_a_barriers_results_are_not_all_alive_at_once(wild, tmp_path, monkeypatch):
    assert most_alive(monkeypatch, lambda: run(wild, tmp_path / "one_by_one")) <= 3
    monkeypatch.setattr(FedAvg, "merges_plainly", False)
    assert most_alive(monkeypatch, lambda: run(wild, tmp_path / "at_once")) >= 8
