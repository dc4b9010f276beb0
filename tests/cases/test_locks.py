"""A run directory has one owner from claim to close, and a dead owner's lock is no lock."""

import errno
import fcntl
import json
import os
import socket
import subprocess
import sys
import threading
import time
from dataclasses import asdict, replace

import pytest
from command_line import files_under

from interlude import BadInputError, RunRecord, parse_scenario, run_scenario
from interlude.simulator.files import only_one
from interlude.simulator.record import lock
from interlude.simulator.record.lock import LOCK, Owner, check_free, owned
from interlude.simulator.run.interruption import ResumePolicy
from interlude.simulator.sweep import Flags, load_sweep, run_sweep
from interlude.simulator.sweep.local import LocalProcesses

RUN = "tiny/fedavg-s0"


def write_lock(directory, owner):
    directory.mkdir(parents=True, exist_ok=True)
    (directory / LOCK).write_text(json.dumps(asdict(owner)))


@pytest.fixture
def dead():
    """Return an owner on this host whose process has ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return replace(Owner.here(), pid=process.pid, started="1")


@pytest.mark.parametrize("status", [None, "running", "complete"])
def test_a_second_run_is_told_who_writes_there_and_changes_nothing(scenario_with, tmp_path, status):
    scenario = parse_scenario(scenario_with({"until.simulated_s": 5}))
    if status is not None:
        (record,) = run_scenario(scenario, runs=tmp_path, timing_only=True)
        (record.path / "run.json").write_text(json.dumps({"schema": 2, **_identity(record), "status": status}))
    with owned(tmp_path / RUN):
        before = files_under(tmp_path)
        for flags in ({}, {"overwrite": True}, {"policy": ResumePolicy(resume=True)}):
            with pytest.raises(BadInputError) as refused:
                run_scenario(scenario, runs=tmp_path, timing_only=True, **flags)
            said = str(refused.value)
            assert f"{RUN}: process {os.getpid()} on {socket.gethostname()} writes there since 20" in said
            assert len(said) < 400
        assert files_under(tmp_path) == before


def _identity(record):
    return {key: record.info[key] for key in ("label", "seed", "scenario", "digest")}


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_sweep_is_told_who_writes_into_one_of_its_runs(scenario_file, tmp_path, overwrite):
    sweep = load_sweep(scenario_file(), (), Flags(seeds=[0]))
    with owned(tmp_path / "runs" / RUN):
        with pytest.raises(BadInputError, match=f"process {os.getpid()} on .* writes there since"):
            run_sweep(sweep, LocalProcesses(1), runs=tmp_path / "runs", timing_only=True, overwrite=overwrite)
        assert list((tmp_path / "runs" / RUN).iterdir()) == [tmp_path / "runs" / RUN / LOCK]


def test_a_run_owns_its_directory_until_it_is_closed(scenario_with, tmp_path):
    def try_again(moment):
        seen.append(moment)
        with pytest.raises(BadInputError, match="writes there since"):
            run_scenario(scenario, runs=tmp_path, timing_only=True, overwrite=True)

    seen = []
    scenario = parse_scenario(scenario_with({"until.simulated_s": 5, "evaluate.every_s": 5}))
    (record,) = run_scenario(scenario, runs=tmp_path, timing_only=True, watch=try_again)
    assert seen
    assert record.damages() == {}
    assert not (record.path / LOCK).exists()


def test_the_lock_of_a_process_that_is_gone_is_no_lock(scenario_with, tmp_path, dead):
    me = Owner.here()
    scenario = parse_scenario(scenario_with({"until.simulated_s": 5}))
    for owner in (dead, replace(me, started="1"), replace(me, boot="another"), None):
        write_lock(tmp_path / RUN, me) if owner is None else write_lock(tmp_path / RUN, owner)
        if owner is None:
            (tmp_path / RUN / LOCK).write_text("")  # killed before it had written its name
        (record,) = run_scenario(scenario, runs=tmp_path, timing_only=True, overwrite=True)
        assert RunRecord(record.path).is_complete
        assert not (record.path / LOCK).exists()


@pytest.mark.parametrize("elsewhere", [{"host": "node7"}, {"namespace": "pid:[1]"}])
def test_where_an_owner_cannot_be_seen_the_message_says_how_to_force(tmp_path, elsewhere):
    write_lock(tmp_path, replace(Owner.here(), **elsewhere))
    with (
        pytest.raises(BadInputError, match=r"cannot be seen from .*; if it has ended, delete ") as refused,
        owned(tmp_path),
    ):
        pass
    assert str(refused.value).endswith(str(tmp_path / LOCK))
    (tmp_path / LOCK).unlink()
    with owned(tmp_path):
        pass


def test_of_many_that_find_a_dead_owners_lock_one_gets_it(tmp_path, dead, monkeypatch):
    monkeypatch.setattr(lock, "_PATIENCE_S", 20.0)
    for attempt in range(5):
        directory = tmp_path / str(attempt)
        write_lock(directory, dead)
        start, end, got = threading.Barrier(12), threading.Event(), []

        def contend(directory=directory, start=start, end=end, got=got):
            start.wait()
            try:
                with owned(directory):
                    got.append(True)
                    end.wait()
            except BadInputError:
                got.append(False)

        threads = [threading.Thread(target=contend) for _ in range(12)]
        for thread in threads:
            thread.start()
        until = time.monotonic() + 60
        while len(got) < len(threads) and time.monotonic() < until:
            time.sleep(0.01)
        end.set()
        for thread in threads:
            thread.join()
        assert sorted(got) == [False] * 11 + [True]


def test_a_lock_that_has_changed_hands_since_its_owner_was_seen_to_be_dead_is_left_alone(tmp_path, dead, monkeypatch):
    write_lock(tmp_path, dead)
    rival, asked = Owner.here(), []

    def is_alive(owner):
        asked.append(owner)
        if len(asked) == 2:  # once the dead one's lock is about to be removed, another contender has it
            write_lock(tmp_path, rival)
        return owner == rival

    monkeypatch.setattr(Owner, "is_alive", is_alive)
    with pytest.raises(BadInputError, match="writes there since"), owned(tmp_path):
        pass
    assert asked == [dead, dead, rival]
    assert (tmp_path / LOCK).exists()


@pytest.mark.parametrize("lacks", ["nothing", "hard links"])
def test_a_lock_is_left_by_no_file_of_its_making(tmp_path, monkeypatch, lacks):
    def lacking(*_):
        raise OSError(errno.EPERM, "Operation not permitted")

    if lacks == "hard links":
        monkeypatch.setattr(os, "link", lacking)
    with owned(tmp_path):
        assert [entry.name for entry in tmp_path.iterdir()] == [LOCK]
        with pytest.raises(BadInputError, match="writes there since"):
            check_free(tmp_path)
        (tmp_path / "of mine").touch()
    assert [entry.name for entry in tmp_path.iterdir()] == ["of mine"]


def test_locks_work_where_flock_is_lacking(tmp_path, monkeypatch):
    def lacking(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", lacking)
    with (
        only_one(tmp_path, "busy"),
        owned(tmp_path / "run"),
        pytest.raises(BadInputError, match="writes there since"),
    ):
        check_free(tmp_path / "run")
    assert not (tmp_path / "run").exists()  # nothing was written into it
