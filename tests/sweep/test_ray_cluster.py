"""Sweeps on Ray."""

import importlib.util
import os
import socket
import subprocess
import sys
import time

import pytest
from records import records_in

from interlude.simulator.errors import BadInputError
from interlude.simulator.sweep import Flags, load_sweep, ray_cluster, run_sweep
from interlude.simulator.sweep.ray_cluster import RayCluster

has_ray = importlib.util.find_spec("ray") is not None


def test_without_ray_there_is_a_sentence(scenario_file, tmp_path, monkeypatch):
    monkeypatch.setattr(ray_cluster, "find_spec", lambda _: None)
    with pytest.raises(BadInputError, match=r"pip install 'interlude\[ray\]'"):
        run_sweep(load_sweep(scenario_file(), (), Flags(seeds=[0])), RayCluster(), runs=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("address", "said"),
    [("nowhere", "must be auto, host:port"), ("127.0.0.1:99999", "nothing answers"), ("closed", "nothing answers")],
)
def test_an_address_where_no_ray_is_gives_a_sentence_soon(scenario_file, tmp_path, monkeypatch, address, said):
    monkeypatch.setattr(ray_cluster, "find_spec", lambda _: "installed")
    if address == "closed":
        with socket.socket() as once_open:
            once_open.bind(("127.0.0.1", 0))
            address = f"ray://127.0.0.1:{once_open.getsockname()[1]}"
    began = time.monotonic()
    with pytest.raises(BadInputError, match=f"--ray-address: {said}"):
        run_sweep(load_sweep(scenario_file(), (), Flags(seeds=[0])), RayCluster(address), runs=tmp_path / "runs")
    assert time.monotonic() - began < 10
    assert not (tmp_path / "runs").exists()


def test_somebody_who_answers_but_is_no_ray_gives_a_sentence(monkeypatch):
    monkeypatch.setattr(ray_cluster, "find_spec", lambda _: "installed")
    monkeypatch.setattr(ray_cluster, "_PROBE_S", 0.5)
    monkeypatch.setattr(ray_cluster, "_PROBE", "import time; time.sleep(60)")
    with socket.create_server(("127.0.0.1", 0)) as server, pytest.raises(BadInputError, match=r"no Ray answers at"):
        RayCluster(f"127.0.0.1:{server.getsockname()[1]}").check(1)


@pytest.mark.parametrize(
    ("name", "gpus", "said"), [("cuda:1", 1.0, "auto, cpu, cuda with"), ("cuda", 0.0, "needs --gpus-per-run")]
)
def test_a_device_that_ray_does_not_give_is_refused(name, gpus, said):
    with pytest.raises(BadInputError, match=said):
        RayCluster(gpus_per_run=gpus).choose_device(name)
    assert RayCluster(gpus_per_run=0.5).choose_device("auto").type == "cuda"


@pytest.mark.skipif(not has_ray, reason="needs Ray: pip install 'interlude[ray]'")
def test_on_ray_the_same_comes_out_and_a_killed_worker_costs_nothing(cli, scenario_file, tmp_path, lethal):
    trace = tmp_path / "delays.csv"
    trace.write_text("delay_s\n1\n2\n")
    slow = {"distribution": "empirical", "file": "delays.csv", "column": "delay_s"}
    changes = {
        "methods": [{"name": "fedavg"}, lethal(1)],
        "until.simulated_s": 100,
        "world.arrival.gray.per_client": slow,
    }
    scenario_file(changes)
    command = ["sweep", "tiny.yaml", "--seeds", "0,1", "--device", "cpu"]

    def run(*more):
        return subprocess.run(
            [sys.executable, "-m", "interlude.simulator.cli.main", *command, *more],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=250,
        )

    done = run("--runs", "ray", "--executor", "ray")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("the run begins again") == 1
    assert "4/4" in done.stdout
    (tmp_path / "marks").unlink()
    assert run("--runs", "local", "--jobs", "1").returncode == 0
    assert len(records_in(tmp_path / "ray")) == 20
    assert records_in(tmp_path / "ray") == records_in(tmp_path / "local")
    assert "4 of 4 runs were finished before" in run("--runs", "ray", "--executor", "ray").stdout
