"""Short runs that are asked for their end at chosen moments, and what they leave."""

import pytest

from interlude import parse_scenario, run_scenario
from interlude.simulator.run.interruption import Interrupted, Interruption, ResumePolicy


def short(wild, *entries):
    """Return a scenario of four versions, trained one client after the other."""
    training = {"batch_size": 16, "window_samples": 16, "optimizer": {"name": "sgd", "learning_rate": 0.05}}
    return wild(*entries, until={"versions": 4}, training=training, executor={"kind": "sequential"})


def play(given, runs, **policy):
    """Run a scenario, and resume what is not finished; returns the records."""
    policy = ResumePolicy(**{"resume": True, "checkpoint_every_s": 1e6, **policy})
    return run_scenario(parse_scenario(given), runs=runs, device="cpu", workers=1, policy=policy)


def content(record):
    """Return the files of a run but run.json, which says how long it took."""
    paths = (path for path in record.path.rglob("*") if path.is_file() and path.name != "run.json")
    return {path.relative_to(record.path).as_posix(): path.read_bytes() for path in paths}


def saved(runs):
    return {path.name for path in runs.rglob("checkpoint/*")}


def before_call(monkeypatch, owner, name, number, act):
    """Do something just before the n-th call of a method, in whose caller's eyes it happens within."""
    whole, calls = getattr(owner, name), []

    def with_act(*arguments, **more):
        calls.append(name)
        if len(calls) == number:
            act()
        return whole(*arguments, **more)

    monkeypatch.setattr(owner, name, with_act)


def interrupted(given, runs, *moments, **policy):
    """Run a scenario that is asked for its end before calls, each (owner, name, number, times); returns its files."""
    interruption = Interruption()
    with pytest.MonkeyPatch.context() as patched:
        for owner, name, number, times in moments:
            before_call(patched, owner, name, number, lambda times=times: [interruption.ask() for _ in range(times)])
        with pytest.raises(Interrupted):
            play(given, runs, interruption=interruption, **policy)
    return saved(runs)
