"""Requests to end a run that arrive in the middle of something: an event, a save, the closing of the record."""

import json
import os
import shutil
import signal
from pathlib import Path

import pytest
import torch
from stopped_runs import before_call, content, interrupted, play, saved, short

from interlude.simulator.federation.server import Server
from interlude.simulator.record import checkpoint
from interlude.simulator.record.checkpoint import Checkpoints, read
from interlude.simulator.run import experiment
from interlude.simulator.run.interruption import Interrupted, Interruption
from interlude.simulator.run.loop import Run

ENTRIES = {
    "mba": {"name": "mba"},
    "fedavg": {"name": "fedavg"},
    "pow-d": {"name": "pow-d", "server": {"clients_per_round": 2}, "candidates": 3},
    "bmsfed": {"name": "bmsfed", "server": {"clients_per_round": 2}},
}


@pytest.fixture(autouse=True)
def no_estimate(monkeypatch):
    """Leave the estimate out: it plays the first events of a run, too."""
    monkeypatch.setattr(experiment, "estimate", lambda *_, **__: None)


@pytest.mark.parametrize("entry", ENTRIES)
def test_a_second_signal_in_the_event_of_the_first_keeps_the_checkpoint_before(wild, tmp_path, entry):
    given = short(wild, ENTRIES[entry])
    (calm,) = play(given, tmp_path / "calm")
    before = interrupted(given, tmp_path / "stormy", (Server, "merge", 1, 1))
    assert len(before) == 1
    assert interrupted(given, tmp_path / "stormy", (Server, "merge", 2, 2)) == before
    (stormy,) = play(given, tmp_path / "stormy")
    assert content(stormy) == content(calm)


@pytest.mark.parametrize(("owner", "name"), [(checkpoint, "encode"), (os, "fsync"), (Path, "rename")])
def test_a_signal_during_a_save_waits_for_its_end(wild, tmp_path, owner, name):
    given = short(wild, ENTRIES["mba"])
    (calm,) = play(given, tmp_path / "calm")
    interruption = Interruption()

    def save(checkpoints, *arguments):
        with pytest.MonkeyPatch.context() as patched:
            before_call(patched, owner, name, 1, interruption.ask)
            return whole(checkpoints, *arguments)

    whole = Checkpoints.save
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Checkpoints, "save", save)
        before_call(patched, Server, "merge", 2, interruption.ask)
        with pytest.raises(Interrupted):
            play(given, tmp_path / "stormy", interruption=interruption)
    assert interruption.is_urgent
    (path,) = tmp_path.rglob("stormy/**/checkpoint/*")
    read(path, torch.device("cpu"))
    (stormy,) = play(given, tmp_path / "stormy")
    assert content(stormy) == content(calm)


def test_a_failure_that_the_clock_has_not_raised_yet_is_not_saved(wild, tmp_path, monkeypatch):
    """SimPy catches what a process raises, and raises it one event later: the state in between is none of the run's."""
    asked = Interruption()

    def fail():
        asked.ask()
        raise KeyboardInterrupt

    before_call(monkeypatch, Server, "merge", 2, fail)
    with pytest.raises((Interrupted, KeyboardInterrupt)):
        play(short(wild, ENTRIES["mba"]), tmp_path, interruption=asked)
    assert saved(tmp_path) == set()


def test_a_signal_while_the_record_is_closed_ends_the_command_and_not_the_run(wild, tmp_path):
    given = short(wild, ENTRIES["fedavg"], {"name": "fedasync"})
    for times in (1, 3):
        runs = tmp_path / str(times)
        interrupted(given, runs, (Run, "finish", 1, times))
        assert {path.parent.name for path in runs.rglob("run.json")} == {"fedavg-s3"}
        assert json.loads((runs / "wild/fedavg-s3/run.json").read_text())["status"] == "complete"
    records = play(given, tmp_path / "1")
    assert [content(record) for record in records] == [content(record) for record in play(given, tmp_path / "calm")]


def test_a_signal_during_a_replay_leaves_the_checkpoint(wild, tmp_path):
    given = short(wild, ENTRIES["fedavg"])
    (calm,) = play(given, tmp_path / "calm")
    before = interrupted(given, tmp_path / "stormy", (Server, "merge", 3, 1))
    for times in (1, 2):
        assert interrupted(given, tmp_path / "stormy", (Server, "merge", 1, times)) == before
    (stormy,) = play(given, tmp_path / "stormy")
    assert content(stormy) == content(calm)


def test_a_signal_before_the_run_begins_ends_it_at_once_even_where_it_is_swallowed(wild, tmp_path, monkeypatch):
    given, interruption = short(wild, ENTRIES["fedavg"]), Interruption()

    def swallow():
        with pytest.raises(Interrupted):
            interruption.ask()

    before_call(monkeypatch, experiment, "estimate", 1, swallow)
    with pytest.raises(Interrupted):
        play(given, tmp_path, interruption=interruption)
    assert not [*tmp_path.iterdir()]


def test_a_signal_within_a_process_of_the_estimate_is_an_interruption(wild, tmp_path, monkeypatch):
    """SimPy raises a copy of what a process raises."""
    monkeypatch.undo()
    assert interrupted(short(wild, ENTRIES["fedavg"]), tmp_path, (Server, "merge", 1, 1)) == set()
    assert not [*tmp_path.iterdir()]


def test_a_checkpoint_that_no_replay_reaches_gives_way_to_the_one_before(wild, tmp_path):
    given = short(wild, ENTRIES["fedavg"])
    (calm,) = play(given, tmp_path / "calm")
    for number in (1, 3):
        interrupted(given, tmp_path / "saved", (Server, "merge", number, 1))
    for spoilt in ({"whereabouts": (0.0, 0, 0)}, {"observer": {}}):
        runs = tmp_path / f"without {[*spoilt]}"
        shutil.copytree(tmp_path / "saved", runs)
        checkpoints, said = Checkpoints(runs / "wild/fedavg-s3/checkpoint"), []
        newest = read(checkpoints.files()[0], torch.device("cpu"))
        checkpoints.save(newest.num_events, {**newest.state, **spoilt})
        assert len(checkpoints.files()) == 2
        (stormy,) = play(given, runs, say=said.append)
        assert ["does not reach its checkpoint" in sentence for sentence in said] == [False, True]
        assert "the one before it is used" in said[1]
        assert content(stormy) == content(calm)


@pytest.fixture
def handled():
    """Return an interruption by signals, and the exit codes with which it would end the process on the spot."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    interruption, codes = Interruption(), []
    with interruption.by_signals(lambda interrupted: codes.append(interrupted.exit_code)):
        yield interruption, codes
    signal.raise_signal(signal.SIGTERM)  # ignored by a process that is about to end
    for number, handler in before.items():
        signal.signal(number, handler)


def test_a_third_signal_ends_a_run_in_progress_on_the_spot(handled):
    interruption, codes = handled
    with interruption.deferred():
        for number, ended in ((signal.SIGTERM, []), (signal.SIGINT, []), (signal.SIGINT, [143])):
            signal.raise_signal(number)
            assert codes == ended


def test_a_second_signal_ends_a_command_on_its_way_out_on_the_spot(handled):
    _, codes = handled
    with pytest.raises(Interrupted):
        signal.raise_signal(signal.SIGINT)
    assert codes == []
    signal.raise_signal(signal.SIGTERM)
    assert codes == [130]
