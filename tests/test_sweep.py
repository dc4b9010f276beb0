"""Sweeps: which runs they are, how they are carried out, and what survives when processes die."""

import importlib.util
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pandas as pd
import pytest

from interlude import cli as command_line
from interlude import load_scenario, load_scenarios, run_scenario
from interlude.simulator.errors import BadInputError
from interlude.simulator.files import only_one
from interlude.simulator.sweep import Flags, load_sweep, ray_cluster, run_sweep
from interlude.simulator.sweep import runs as sweep_runs
from interlude.simulator.sweep.local import LocalProcesses, available_memory_bytes, default_jobs
from interlude.simulator.sweep.ray_cluster import RayCluster

NUM_KILLS = int(os.environ.get("INTERLUDE_KILLS", "10"))
has_ray = importlib.util.find_spec("ray") is not None

LETHAL_METHOD = """
import os, signal
from pathlib import Path
from typing import Literal
from interlude.simulator.methods.fedavg import FedAvg, FedAvgOptions

class Options(FedAvgOptions):
    name: Literal["lethal:Lethal"] = "lethal:Lethal"
    label: str | None = "lethal"
    marks: str
    deaths: int

class Lethal(FedAvg):
    Options = Options

    def client_round(self, client):
        self.rounds = getattr(self, "rounds", 0) + 1
        if self.rounds == 10:
            marks = Path(self.options.marks)
            marks.write_text((marks.read_text() if marks.exists() else "") + "x")
            if len(marks.read_text()) <= self.options.deaths:
                os.kill(os.getpid(), signal.SIGKILL)
        yield from super().client_round(client)
"""


@pytest.fixture
def cli(capsys):
    """Return a function from arguments to exit code, standard output and standard error."""

    def run(*arguments):
        capsys.readouterr()
        with pytest.raises(SystemExit) as stopped:
            command_line.main([str(argument) for argument in arguments])
        return stopped.value.code or 0, *capsys.readouterr()

    return run


@pytest.fixture
def lethal(tmp_path, monkeypatch):
    """Return a function from a number of deaths to a method that kills its process so often, in mid-run."""
    (tmp_path / "lethal.py").write_text(LETHAL_METHOD)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield lambda deaths: {"name": "lethal:Lethal", "marks": str(tmp_path / "marks"), "deaths": deaths}
    sys.modules.pop("lethal", None)


def records_in(runs):
    """Return what run directories say, by path, but for how long they took."""
    found = {}
    for info_file in runs.rglob("run.json"):
        for path in info_file.parent.rglob("*"):
            if path.is_file() and path != info_file:
                found[str(path.relative_to(runs))] = path.read_bytes()
        info = json.loads(info_file.read_text())
        info.get("totals", {}).pop("host_s", None)
        found[str(info_file.relative_to(runs))] = info
    return found


def times_in(runs):
    return {str(path): path.stat().st_mtime_ns for path in runs.rglob("run.json")}


# Which runs a sweep is.


def test_values_are_multiplied_and_points_are_called_after_them(scenario_file):
    sweep = load_sweep(scenario_file({"sweep": {"clients.count": [4, 8], "seed": [0, 1], "model.width": [8, 16]}}))
    assert [(s.name, s.seed) for s in sweep.scenarios] == [
        (f"tiny-clients-{count}_width-{width}", seed) for count in (4, 8) for seed in (0, 1) for width in (8, 16)
    ]
    assert [(s.clients.count, s.model.width) for s in sweep.scenarios[:3]] == [(4, 8), (4, 16), (4, 8)]
    assert sweep.num_runs == 8
    assert sweep.parent_of_points(Path("runs")) == Path("runs/tiny")


def test_lists_under_zip_are_walked_through_side_by_side(scenario_file):
    block = {"zip": {"world.compute.throughput_gflops": [0.1, 0.2], "model.width": [8, 16]}, "seed": [0, 1]}
    sweep = load_sweep(scenario_file({"sweep": block}))
    assert [(s.name, s.seed, s.model.width) for s in sweep.scenarios] == [
        ("tiny-throughput_gflops-0.1", 0, 8),
        ("tiny-throughput_gflops-0.1", 1, 8),
        ("tiny-throughput_gflops-0.2", 0, 16),
        ("tiny-throughput_gflops-0.2", 1, 16),
    ]


def test_flags_replace_the_blocks_values_of_the_same_field(scenario_file):
    path = scenario_file({"sweep": {"clients.count": [4, 8], "seed": [0, 1], "methods": ["mba"]}})
    sweep = load_sweep(path, (), Flags(clients=[5], seeds=[7], methods=["fedavg", "fedasync"]))
    (scenario,) = sweep.scenarios
    assert (scenario.name, scenario.seed, scenario.clients.count) == ("tiny-clients-5", 7, 5)
    assert [method.run_label for method in scenario.methods] == ["fedavg", "fedasync"]


def test_a_methods_option_is_reached_by_its_label_and_methods_are_chosen_by_label_then_name(scenario_file):
    methods = [{"name": "fedavg"}, {"name": "mba", "label": "ours"}, {"name": "mba", "label": "other"}]
    path = scenario_file({"methods": methods, "sweep": {"methods.ours.beta": [0.5, 2.0]}})
    sweep = load_sweep(path, (), Flags(methods=["mba", "fedcmi"]))
    assert [s.name for s in sweep.scenarios] == ["tiny-beta-0.5", "tiny-beta-2.0"]
    assert [method.run_label for method in sweep.scenarios[0].methods] == ["ours", "other", "fedcmi"]
    assert [s.methods[0].beta for s in sweep.scenarios] == [0.5, 2.0]


def test_same_ends_of_fields_and_odd_values_still_make_different_names(scenario_file):
    slow = {"distribution": "constant", "value_s": 9.0}
    block = {
        "world.network.uplink_mbps": [1, {"distribution": "lognormal", "median": 2, "sigma": 0.5}],
        "world.arrival.gray.per_client": [slow],
        "world.arrival.color.per_client": [slow],
    }
    assert [s.name for s in load_sweep(scenario_file({"sweep": block})).scenarios] == [
        "tiny-uplink_mbps-1_gray.per_client-constant-9.0_color.per_client-constant-9.0",
        "tiny-uplink_mbps-lognormal-2-0.5_gray.per_client-constant-9.0_color.per_client-constant-9.0",
    ]


def test_variants_are_points_too(scenario_file):
    path = scenario_file({"variants": {"few": {"clients.count": 3}, "many": {"clients.count": 6}}})
    sweep = load_sweep(path, (), Flags(seeds=[0, 1]))
    assert [(s.name, s.seed) for s in sweep.scenarios] == [(f"tiny-{v}", s) for v in ("few", "many") for s in (0, 1)]
    assert sweep.has_points


def test_every_shipped_sweep_is_one(pytestconfig):
    shipped = {
        path.stem: load_sweep(path).num_runs
        for path in sorted((pytestconfig.rootpath / "scenarios").rglob("*.yaml"))
        if "\nsweep:" in path.read_text()
    }
    assert shipped == {"asynchrony_dial": 48, "client_scaling": 72, "sensitivity_beta_gamma": 48}


def test_the_worlds_of_the_asynchrony_dial_have_equal_means(pytestconfig):
    sweep = load_sweep(pytestconfig.rootpath / "scenarios/asynchrony_dial.yaml", (), Flags(seeds=[0]))
    for scenario in sweep.scenarios:
        world = scenario.world
        assert world.compute.throughput_gflops.mean_value == pytest.approx(0.07, rel=2e-3)
        assert world.network.uplink_mbps.mean_value == pytest.approx(2.5, rel=2e-3)
        assert world.network.downlink_mbps.mean_value == pytest.approx(10, rel=2e-3)
        assert [a.per_client.mean_value for a in world.arrival.values()] == pytest.approx([4, 4], rel=2e-3)


BAD_BLOCKS = {
    "no such field": ({"clinets.count": [1]}, "clinets: unknown key 'clinets'", "did you mean 'clients'?"),
    "no such key": ({"clients.cuont": [1]}, "clients.cuont: unknown key 'cuont'", "did you mean 'count'?"),
    "no such method": ({"methods.fedav.waiting": ["all"]}, "no method has the label 'fedav'", "mean 'fedavg'?"),
    "an unknown method": ({"methods": ["fedavgg"]}, "sweep.methods: unknown method 'fedavgg'", "mean 'fedavg'?"),
    "into a value": ({"seed.x": [1]}, "sweep.seed.x", "is a value, not a section"),
    "an empty list": ({"clients.count": []}, "sweep.clients.count: is an empty list"),
    "no list": ({"clients.count": 16}, "sweep.clients.count: must be a list of values", "given 16"),
    "a value out of range": ({"clients.count": [4, 0]}, "clients.count", "greater than 0; given 0"),
    "unequal lengths": ({"zip": {"clients.count": [4, 5], "seed": [1]}}, "2 of clients.count, 1 of seed"),
    "a value twice": ({"seed": [1, 1]}, "sweep.seed: 1 is given twice"),
    "a value twice, in disguise": ({"clients.count": [4, 4.0]}, "are the same scenario"),
    "a field twice": ({"seed": [1], "zip": {"seed": [2]}}, "sweep.seed: is given twice"),
    "a name": ({"name": ["a", "b"]}, "sweep.name: cannot be swept"),
    "nothing": ({}, "sweep: is empty"),
    "a list": ([1], "sweep: must map fields to lists"),
    "no methods": ({"methods": []}, "sweep.methods: is an empty list"),
}


@pytest.mark.parametrize("bad", BAD_BLOCKS)
def test_a_bad_block_is_one_sentence_and_nothing_is_written(cli, scenario_file, tmp_path, bad):
    block, *said = BAD_BLOCKS[bad]
    code, out, err = cli("sweep", scenario_file({"sweep": block}), "--runs", tmp_path / "runs")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert all(part in err for part in ["tiny.yaml", *said]), err
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--clients", "16,x"], "--clients: must be whole numbers of at least 1"),
        (["--clients", "0"], "given '0'"),
        (["--seeds", ""], "--seeds: must be whole numbers of at least 0"),
        (["--seeds", "1,1"], "--seeds: 1 is given twice"),
        (["--methods", "fedavg,"], "--methods: must be names"),
        (["--methods", "fedavgg"], "--methods: unknown method 'fedavgg'"),
        (["--clients", "4", "--set", "clients.count=3"], "--set 'clients.count=3': the sweep varies clients.count"),
        ([], "has no 'sweep' block, and no --clients"),
        (["--seeds", "0", "--jobs", "0"], "--jobs"),
        (["--seeds", "0", "--device", "tpu"], "--device"),
        (["--seeds", "0", "--executor", "slurm"], "--executor"),
        (["--seeds", "0", "--ray-address", "a:1"], "--ray-address: needs --executor ray"),
        (["--seeds", "0", "--runs", "tiny.yaml"], "tiny.yaml"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_flags_are_one_sentence_and_nothing_is_written(cli, scenario_file, tmp_path, monkeypatch, flags, said):
    monkeypatch.chdir(tmp_path)
    scenario_file()
    code, out, err = cli("sweep", "tiny.yaml", *flags)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert said in err
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.yaml"]


def test_run_says_that_a_sweep_is_for_sweep_and_check_says_what_it_is(cli, scenario_file, tmp_path):
    path = scenario_file({"sweep": {"clients.count": [4, 8], "seed": [0, 1]}})
    code, _, err = cli("run", path, "--runs", tmp_path / "runs")
    assert code == 2
    assert f"sweep: describes many runs; 'interlude sweep {path}' runs them" in err
    code, out, _ = cli("check", path)
    assert code == 0
    assert all(part in out for part in ("tiny: a sweep of 4 runs", "tiny-clients-8", "0, 1"))
    assert not (tmp_path / "runs").exists()
    with pytest.raises(BadInputError, match="interlude sweep"):
        load_scenario(path)


# Carrying it out.


def test_a_sweep_writes_runs_by_point_a_summary_and_is_not_done_again(cli, scenario_file, tmp_path):
    runs = tmp_path / "runs"
    command = ["sweep", scenario_file(), "--clients", "4,8", "--seeds", "0,1", "--runs", runs, "--timing-only"]
    code, out, err = cli(*command, "--jobs", 2)
    assert (code, err) == (0, "")
    assert {str(path.parent.relative_to(runs)) for path in runs.rglob("run.json")} == {
        f"tiny/tiny-clients-{count}/fedavg-s{seed}" for count in (4, 8) for seed in (0, 1)
    }
    assert "4/4 tiny-clients-" in out
    summary = pd.read_csv(runs / "tiny/summary.csv")
    assert summary["scenario"].tolist() == ["tiny-clients-4", "tiny-clients-8"]
    before = times_in(runs)
    code, out, _ = cli(*command)
    assert code == 0
    assert "4 of 4 runs were finished before" in out
    command[3] = "4,8,6"  # a value more: one point is added, nothing moves
    assert cli(*command)[0] == 0
    after = times_in(runs)
    assert {path: after[path] for path in before} == before
    assert len(after) == 6


def test_results_are_those_of_single_runs_with_one_job_and_with_two(scenario_file, tmp_path):
    """With training: jobs share no state, so neither their number nor their order changes a byte."""
    methods = [{"name": "fedavg"}, {"name": "mba"}]
    path = scenario_file({"methods": methods, "until.simulated_s": 12, "evaluate.every_s": 4})
    sweep = load_sweep(path, (), Flags(seeds=[0, 1]))
    for jobs in (1, 2):
        outcomes = run_sweep(sweep, LocalProcesses(jobs), runs=tmp_path / f"jobs-{jobs}", device="cpu")
        assert [outcome.status for outcome in outcomes] == ["complete"] * 4
    for seed in (0, 1):
        run_scenario(load_scenario(path, [f"seed={seed}"]), runs=tmp_path / "single", device="cpu")
    single = records_in(tmp_path / "single")
    assert len(single) == 20
    assert records_in(tmp_path / "jobs-1") == records_in(tmp_path / "jobs-2") == single
    assert (outcomes[0].name, outcomes[0].path) == ("tiny/fedavg-s0", tmp_path / "jobs-2/tiny/fedavg-s0")


def test_a_failing_run_is_named_and_recorded_and_stops_no_other(cli, scenario_file, tmp_path):
    runs = tmp_path / "runs"
    block = {"training.optimizer.learning_rate": [0.05, 1.0e30, 0.06]}
    path = scenario_file({"sweep": block, "until.simulated_s": 10})
    code, out, err = cli("sweep", path, "--runs", runs, "--jobs", 1, "--device", "cpu")
    assert code == 1
    assert "tiny-learning_rate-1e-30/fedavg-s0: failed: the training loss of client" in out
    assert "1 of 3 runs failed" in err
    assert "tiny-learning_rate-1e-30/fedavg-s0: failed" in err
    said = {p.parent.parent.name: json.loads(p.read_text()) for p in runs.rglob("run.json")}
    assert {name: info["status"] for name, info in said.items()} == {
        "tiny-learning_rate-0.05": "complete",
        "tiny-learning_rate-1e-30": "failed",
        "tiny-learning_rate-0.06": "complete",
    }
    assert "training loss of client" in said["tiny-learning_rate-1e-30"]["error"]
    code, out, _ = cli("sweep", path, "--runs", runs, "--jobs", 1, "--device", "cpu")
    assert code == 1
    assert "2 of 3 runs were finished before" in out


def test_a_run_whose_process_is_killed_is_begun_again(cli, scenario_file, tmp_path, lethal):
    path = scenario_file({"methods": [lethal(1), {"name": "fedavg"}], "until.simulated_s": 100})
    runs = tmp_path / "runs"
    code, out, _ = cli("sweep", path, "--seeds", "0", "--runs", runs, "--timing-only", "--jobs", 1)
    assert code == 0, out
    assert "tiny/lethal-s0: its process was lost, killed by signal 9 (SIGKILL); it is begun again" in out
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


def test_what_is_not_this_sweeps_is_never_overwritten(cli, scenario_file, tmp_path):
    runs = tmp_path / "runs"
    command = ["sweep", scenario_file(), "--clients", "4", "--runs", runs, "--timing-only", "--jobs", 1]
    assert cli(*command)[0] == 0
    run = runs / "tiny/tiny-clients-4/fedavg-s0"
    before = times_in(runs)
    code, out, err = cli(*command, "--set", "until.simulated_s=20")
    assert (code, out) == (2, "")
    assert "already holds a run (complete) of another scenario" in err
    assert times_in(runs) == before
    assert cli(*command, "--set", "until.simulated_s=20", "--overwrite")[0] == 0
    assert json.loads((run / "run.json").read_text())["totals"]["simulated_s"] == 20
    (run / "run.json").unlink()
    (run / "thesis.txt").write_text("all of it")
    assert cli(*command, "--overwrite")[0] == 2
    assert (run / "thesis.txt").read_text() == "all of it"


@pytest.mark.parametrize("left", [[], ["timeline"], ["timeline", ".run.json"]], ids=str)
def test_what_a_run_killed_in_its_first_moment_leaves_is_in_nobodys_way(scenario_file, tmp_path, left):
    run = tmp_path / "tiny/fedavg-s0"
    run.mkdir(parents=True)
    for name in left:
        (run / name).write_text("{") if name.endswith("json") else (run / name).mkdir()
    sweep = load_sweep(scenario_file(), (), Flags(seeds=[0]))
    (outcome,) = run_sweep(sweep, LocalProcesses(1), runs=tmp_path, timing_only=True)
    assert outcome.status == "complete"
    assert {path.name for path in run.iterdir()} == {"run.json", "metrics.csv", "partition.csv", "timeline"}


def test_two_sweeps_at_once_do_not_meet(scenario_file, tmp_path, monkeypatch):
    monkeypatch.setattr(sweep_runs, "_LOCK_WAIT_S", 0.2)
    sweep = load_sweep(scenario_file(), (), Flags(seeds=[0]))
    with (
        only_one(tmp_path / "tiny", "busy"),
        pytest.raises(BadInputError, match="another sweep is at work there"),
    ):
        run_sweep(sweep, LocalProcesses(1), runs=tmp_path, timing_only=True)


def test_a_sweep_that_is_interrupted_says_so_in_its_records_and_goes_on(scenario_file, tmp_path):
    class Impatient:
        def begin(self, num_runs, num_finished):
            pass

        def see(self, event):
            if isinstance(event, sweep_runs.Moved):
                raise KeyboardInterrupt

    sweep = load_sweep(scenario_file({"until.simulated_s": 3000}), (), Flags(seeds=[0]))
    with pytest.raises(KeyboardInterrupt):
        run_sweep(sweep, LocalProcesses(1), runs=tmp_path, timing_only=True, watch=Impatient())
    info = tmp_path / "tiny/fedavg-s0/run.json"
    assert json.loads(info.read_text())["status"] == "interrupted"
    (outcome,) = run_sweep(sweep, LocalProcesses(1), runs=tmp_path, timing_only=True)
    assert outcome.status == "complete"


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


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks for processes in /proc")
def test_a_sweep_killed_again_and_again_ends_as_if_nothing_had_happened(scenario_file, tmp_path):
    path = scenario_file({"methods": [{"name": "fedasync"}, {"name": "mba"}], "until.simulated_s": 500})
    flags = ["--clients", "8,12", "--seeds", "0,1,2,3,4,5", "--timing-only", "--jobs", "2"]
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
    assert "24/24" in out
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
        shares.append(infos.count("complete") / 24)
    until = time.monotonic() + 10
    while marked(mark) and time.monotonic() < until:
        time.sleep(0.1)
    assert marked(mark) == []  # no worker outlives its sweep
    out, _ = start(tmp_path / "stormy").communicate()
    assert shares == sorted(shares)  # what is finished stays
    assert len(set(shares) - {0.0, 1.0}) >= min(NUM_KILLS // 3, 4), shares  # kills fell into the middle of the sweep
    calm, stormy = records_in(tmp_path / "calm"), records_in(tmp_path / "stormy")
    assert len(calm) == 96
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


# On Ray.


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
    assert done.stdout.count("it is begun again") == 1
    assert "4/4" in done.stdout
    (tmp_path / "marks").unlink()
    assert run("--runs", "local", "--jobs", "1").returncode == 0
    assert len(records_in(tmp_path / "ray")) == 20
    assert records_in(tmp_path / "ray") == records_in(tmp_path / "local")
    assert "4 of 4 runs were finished before" in run("--runs", "ray", "--executor", "ray").stdout


def test_scenarios_without_a_sweep_are_read_as_before(scenario_file):
    assert [scenario.name for scenario in load_scenarios(scenario_file())] == ["tiny"]
