"""Sweeps on Ray."""

import importlib.util
import os
import socket
import subprocess
import sys
import time
from dataclasses import replace

import pytest
import torch
import yaml
from records import records_in

from interlude import parse_scenario
from interlude.simulator.errors import BadInputError
from interlude.simulator.record.provenance import package_versions
from interlude.simulator.run import checkpointer, experiment
from interlude.simulator.run.spec import run_specs
from interlude.simulator.sweep import Flags, load_sweep, ray_cluster, run_sweep
from interlude.simulator.sweep.ray_cluster import RayCluster
from interlude.simulator.sweep.ray_node import Request, execute_request

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


class Mail:
    """Stands for the handle of the actor: keeps what was put, and may end the run after that."""

    def __init__(self, error=None):
        self.put, self.kept, self.error = self, [], error

    def remote(self, name, files):
        self.kept.append((name, files))
        if self.error is not None:
            raise self.error


def test_what_a_run_sent_while_it_went_on_is_enough_to_resume_it_elsewhere(wild, tmp_path, monkeypatch):
    spec = run_specs(parse_scenario(wild({"name": "mba"})), tmp_path, torch.device("cpu"), timing_only=False)[0]
    begun = Request("wild/mba", spec, {}, {}, package_versions(), 0.01)
    calm = execute_request(begun, Mail())
    assert calm.failure is None
    dying = Mail(KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):  # the node is lost
        execute_request(begun, dying)
    ((name, saved),) = dying.kept
    assert name == "wild/mba"
    assert sorted(path.split("/")[0] for path in saved) == ["checkpoint", "metrics.csv", "run.json"]
    restored = []
    monkeypatch.setattr(experiment, "restored", lambda *given: restored.append(1) or checkpointer.restored(*given))
    again = execute_request(replace(begun, saved=saved), Mail())
    assert (again.failure, restored) == (None, [1])
    assert {**again.files, "run.json": b""} == {**calm.files, "run.json": b""}


needs_ray = pytest.mark.skipif(not has_ray, reason="needs Ray: pip install 'interlude[ray]'")


_CLUSTER = """
from ray.cluster_utils import Cluster

cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
second = cluster.add_node(num_cpus=1)
print(cluster.address, flush=True)
input()
cluster.remove_node(second, allow_graceful=False)
print("killed", flush=True)
input()
cluster.shutdown()
"""
"""Two nodes of one core each on this machine, of which the second is killed upon a line of input."""


@pytest.fixture
def two_nodes():
    """Return a process that has started two nodes; its first line of output is their address."""
    unhurt = {**os.environ, "RAY_worker_niceness": "0"}  # other work on the machine would stop runs altogether
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen([sys.executable, "-c", _CLUSTER], text=True, env=unhurt, **pipes) as process:
        yield process
        process.communicate("\n\n")


@needs_ray
def test_runs_of_a_node_that_is_killed_go_on_where_they_were_saved_on_another(wild, tmp_path, two_nodes):
    path = tmp_path / "wild.yaml"
    path.write_text(yaml.safe_dump(wild({"name": "mba"}, clients={"count": 12}, until={"simulated_s": 600})))
    address = two_nodes.stdout.readline().strip()

    def sweep(folder, *more):
        flags = ["sweep", path, "--seeds", "0,1", "--device", "cpu", "--runs", tmp_path / folder, *more]
        return subprocess.Popen(
            [sys.executable, "-m", "interlude.simulator.cli.main", *map(str, flags)],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )

    on_ray = sweep("ray", "--executor", "ray", "--ray-address", address, "--checkpoint-every", 0.2)
    until = time.monotonic() + 120
    while len({file.parts[-3] for file in (tmp_path / "ray").rglob("checkpoint/*.safetensors")}) < 2:  # on both nodes
        assert on_ray.poll() is None, on_ray.communicate()
        assert time.monotonic() < until
        time.sleep(0.05)
    print(file=two_nodes.stdin, flush=True)
    assert two_nodes.stdout.readline() == "killed\n"
    out, _ = on_ray.communicate(timeout=250)
    assert on_ray.returncode == 0, out
    assert out.count("the run goes on where it was saved") == 1, out
    assert "2/2" in out
    local = sweep("local", "--jobs", 2)
    local.communicate(timeout=250)
    assert local.returncode == 0
    assert len(records_in(tmp_path / "ray")) == 10
    assert records_in(tmp_path / "ray") == records_in(tmp_path / "local")


@needs_ray
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
