"""Processes that are asked to end, and processes that are killed."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import yaml

from interlude.simulator.run.interruption import Interruption

ROOT = Path(__file__).parents[2]
NUM_KILLS = int(os.environ.get("INTERLUDE_KILLS", "2"))


@pytest.fixture
def command(tmp_path):
    """Return a function that starts a command of the command line."""

    def start(*arguments):
        return subprocess.Popen(
            [sys.executable, "-m", "interlude.simulator.cli.main", *map(str, arguments)],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path)])},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start


def long_run(wild):
    return wild({"name": "mba"}, clients={"count": 12}, until={"simulated_s": 60})


@pytest.fixture
def scenario_file(tmp_path, wild):
    """Return a scenario of several seconds."""
    path = tmp_path / "wild.yaml"
    path.write_text(yaml.safe_dump(long_run(wild)))
    return path


@pytest.fixture(scope="module")
def calm(tmp_path_factory, wild, stopped_and_resumed, files_of):
    """Return the files of the scenario's run when it is left alone."""
    return files_of(stopped_and_resumed(long_run(wild), tmp_path_factory.mktemp("calm")))


def wait_for(condition, process, most_s=120.0):
    until = time.monotonic() + most_s
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.02)


def status(run):
    """Return the status of a run, which begins and ends, but is whole at any moment."""
    path = run / "run.json"
    return json.loads(path.read_text())["status"] if path.exists() else None


def saved(run):
    return {path.name for path in run.glob("checkpoint/*.safetensors")}


def files_in(run):
    paths = [path for path in run.rglob("*") if path.is_file() and path.name != "run.json"]
    return {path.relative_to(run).as_posix(): path.read_bytes() for path in paths}


def test_a_run_asked_to_end_once_or_twice_says_how_to_go_on_and_does(command, scenario_file, tmp_path, calm):
    arguments = ["run", scenario_file, "--device", "cpu", "--workers", 1, "--checkpoint-every", 0.2, "--runs"]
    run = tmp_path / "stormy/wild/mba-s3"
    for number, code, times, more in ((signal.SIGTERM, 143, 1, []), (signal.SIGINT, 130, 2, ["--resume"])):
        stormy = command(*arguments, tmp_path / "stormy", *more)
        before = saved(run)
        wait_for(lambda before=before: saved(run) - before, stormy)
        for _ in range(times):
            stormy.send_signal(number)
        _, err = stormy.communicate()
        assert stormy.returncode == code, err
        assert f"interrupted by {number.name}" in err
        assert re.search(r"resume with: interlude run .*wild\.yaml .* --resume", err), err
        assert json.loads((run / "run.json").read_text())["status"] == "interrupted"
        assert saved(run)
    stormy = command(*arguments, tmp_path / "stormy", "--resume")
    _, err = stormy.communicate()
    assert stormy.returncode == 0, err
    assert "is resumed where it was saved" in err
    assert files_in(run) == calm


def test_a_run_killed_at_random_moments_ends_as_if_nothing_had_happened(command, scenario_file, tmp_path, calm):
    arguments = ["run", scenario_file, "--device", "cpu", "--workers", 1, "--checkpoint-every", 0.1, "--resume"]
    run = tmp_path / "stormy/wild/mba-s3"
    moments = random.Random(7)
    for number in range(NUM_KILLS):
        stormy = command(*arguments, "--runs", tmp_path / "stormy")
        if number:
            before = saved(run)
            wait_for(lambda before=before: saved(run) - before or status(run) == "complete", stormy)
        else:
            wait_for(run.exists, stormy)
        time.sleep(moments.uniform(0.0, 0.6))
        stormy.kill()
        stormy.communicate()
    stormy = command(*arguments, "--runs", tmp_path / "stormy")
    _, err = stormy.communicate()
    assert stormy.returncode == 0, err
    assert files_in(run) == calm


def test_a_sweep_asked_to_end_saves_its_runs_and_goes_on_with_them(command, scenario_file, tmp_path, calm):
    arguments = ["sweep", scenario_file, "--seeds", "3,4", "--jobs", 2, "--device", "cpu"]
    arguments += ["--checkpoint-every", 0.2, "--runs"]
    stormy = command(*arguments, tmp_path / "stormy")
    folders = [tmp_path / f"stormy/wild/mba-s{seed}" for seed in (3, 4)]
    wait_for(lambda: saved(folders[0]), stormy)
    stormy.send_signal(signal.SIGTERM)
    _, err = stormy.communicate()
    assert stormy.returncode == 143, err
    assert "resume with: interlude sweep" in err
    assert status(folders[0]) == "interrupted"
    assert saved(folders[0])
    assert status(folders[1]) != "running"
    again = command(*arguments, tmp_path / "stormy")
    _, err = again.communicate()
    assert again.returncode == 0, err
    assert files_in(folders[0]) == calm


def test_outside_the_main_thread_signals_stay_as_they_are():
    seen = []

    def watch():
        with Interruption().by_signals():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=watch)
    thread.start()
    thread.join()
    assert seen == [signal.getsignal(signal.SIGINT)]
