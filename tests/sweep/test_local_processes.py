"""A sweep's processes on this machine: how many, and what survives when they die."""

import json
import os
import random
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest
from records import records_in

from interlude.simulator.sweep.local import available_memory_bytes, default_jobs

NUM_KILLS = int(os.environ.get("INTERLUDE_KILLS", "3"))


def test_a_run_whose_process_is_killed_is_begun_again(cli, scenario_file, tmp_path, lethal):
    path = scenario_file({"methods": [lethal(1), {"name": "fedavg"}], "until.simulated_s": 100})
    runs = tmp_path / "runs"
    code, out, _ = cli("sweep", path, "--seeds", "0", "--runs", runs, "--timing-only", "--jobs", 1)
    assert code == 0, out
    assert "tiny/lethal-s0: its process was lost, killed by signal 9 (SIGKILL); the run begins again" in out
    assert (tmp_path / "marks").read_text() == "xxx"  # once in the rehearsal that kills, then rehearsed and run
    info = json.loads((runs / "tiny/lethal-s0/run.json").read_text())
    assert info["status"] == "complete"


def test_a_run_that_kills_its_process_every_time_has_failed(cli, scenario_file, tmp_path, lethal):
    path = scenario_file({"methods": [lethal(9), {"name": "fedavg"}], "until.simulated_s": 100})
    runs = tmp_path / "runs"
    code, _, err = cli("sweep", path, "--seeds", "0", "--runs", runs, "--timing-only", "--jobs", 1)
    assert code == 1
    assert "its process died 2 times; the last time killed by signal 9 (SIGKILL)" in err
    assert json.loads((runs / "tiny/lethal-s0/run.json").read_text())["status"] == "failed"
    assert json.loads((runs / "tiny/fedavg-s0/run.json").read_text())["status"] == "complete"


def marked(mark):
    """Return the processes that were started with a mark in their environment."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if mark.encode() in path.read_bytes():
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


@pytest.mark.timeout(600)  # it starts a dozen sweeps, two minutes on two idle cores
@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks for processes in /proc")
def test_a_sweep_killed_again_and_again_ends_as_if_nothing_had_happened(scenario_file, tmp_path):
    path = scenario_file({"methods": [{"name": "fedasync"}, {"name": "mba"}], "until.simulated_s": 500})
    flags = ["--clients", "8", "--seeds", "0,1,2,3", "--timing-only", "--jobs", "2"]
    mark = f"sweep-{uuid.uuid4()}"

    def start(runs):
        return subprocess.Popen(
            [sys.executable, "-m", "interlude.simulator.cli.main", "sweep", str(path), *flags, "--runs", str(runs)],
            env={**os.environ, "SWEEP_MARK": mark},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )

    began = time.monotonic()
    out, _ = start(tmp_path / "calm").communicate()
    length_s = time.monotonic() - began
    assert "8/8" in out
    moments = random.Random(11)
    shares = []
    for number in range(NUM_KILLS):
        killed = start(tmp_path / "stormy")
        if number % 4 == 0:
            time.sleep(length_s * moments.uniform(0.0, 0.5))  # most likely before the first run has begun
        else:
            completed = (line for line in iter(killed.stdout.readline, "") if line.endswith("complete\n"))
            for _ in range(moments.randint(1, 2)):
                next(completed, None)
            time.sleep(moments.uniform(0.0, 0.3))
        killed.send_signal(signal.SIGKILL)
        killed.communicate()
        infos = [json.loads(p.read_text())["status"] for p in (tmp_path / "stormy").rglob("run.json")]
        shares.append(infos.count("complete") / 8)
    until = time.monotonic() + 10
    while marked(mark) and time.monotonic() < until:
        time.sleep(0.1)
    assert marked(mark) == []  # no worker outlives its sweep
    out, _ = start(tmp_path / "stormy").communicate()
    assert shares == sorted(shares)  # what is finished stays
    assert len(set(shares) - {0.0, 1.0}) >= min(NUM_KILLS // 3, 4), shares  # kills fell into the middle of the sweep
    calm, stormy = records_in(tmp_path / "calm"), records_in(tmp_path / "stormy")
    assert len(calm) == 32
    assert stormy == calm


def test_as_many_jobs_as_memory_and_cores_allow(tmp_path, monkeypatch):
    (tmp_path / "proc").mkdir()
    assert available_memory_bytes(tmp_path) is None
    (tmp_path / "proc/meminfo").write_text("MemTotal: 9000000 kB\nMemAvailable: 4000000 kB\n")
    assert available_memory_bytes(tmp_path) == 4000000 * 1024
    group = tmp_path / "sys/fs/cgroup"
    group.mkdir(parents=True)
    for name, text in (("max", "3000000000"), ("current", "2500000000"), ("stat", "anon 5\nfile 2000000000\n")):
        (group / f"memory.{name}").write_text(text)
    assert available_memory_bytes(tmp_path) == 2.5e9
    (group / "memory.max").write_text("max")
    assert available_memory_bytes(tmp_path) == 4000000 * 1024
    monkeypatch.setattr("interlude.simulator.sweep.local.num_cores", lambda: 64)
    for free, jobs in ((2.5e9, 2), (1e12, 64), (1e8, 1), (None, 64)):
        monkeypatch.setattr("interlude.simulator.sweep.local.available_memory_bytes", lambda free=free: free)
        assert default_jobs() == jobs
