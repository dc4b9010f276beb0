"""Which device each run of a sweep takes; no GPU is needed, since the workers are stand-ins."""

import pickle
from collections import Counter
from multiprocessing import Pipe
from multiprocessing.connection import Connection

import pytest
import torch

from interlude.simulator.sweep import Flags, load_sweep, local
from interlude.simulator.sweep.local import LocalProcesses
from interlude.simulator.sweep.runs import Ended, tasks_of


@pytest.fixture
def two_gpus(monkeypatch):
    """Let PyTorch find two CUDA devices."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


@pytest.fixture
def given(monkeypatch):
    """Return the devices that runs are sent with, by the worker that takes them; every run ends at once."""
    sent = []

    class Answering(Connection):
        def send_bytes(self, message):
            spec, _ = pickle.loads(message)
            sent.append((self.worker.device, spec.device))
            self.other.send(("ended", None))

    class StandIn:
        def __init__(self, keep_open, device):
            ours, theirs = Pipe()
            self.connection = Answering(ours.detach() if hasattr(ours, "detach") else ours._handle)
            ours._handle = None
            self.connection.worker, self.connection.other = self, theirs
            self.device, self.task, self.is_ready = device, None, False
            theirs.send(("ready", None))

        def reap(self):
            self.connection.close()
            return ""

    monkeypatch.setattr(local, "SweepWorker", StandIn)
    return sent


@pytest.mark.usefixtures("two_gpus")
@pytest.mark.parametrize(("jobs", "names"), [(None, "cuda:1,cuda:0"), (None, "auto"), (4, "cuda:0,cuda:1")])
def test_every_device_has_runs_of_its_own(scenario_file, tmp_path, given, jobs, names):
    sweep = load_sweep(scenario_file(), (), Flags(seeds=[0, 1, 2, 3]))
    executor = LocalProcesses(jobs)
    tasks = tasks_of(sweep, tmp_path, executor.choose_device(names), timing_only=True)
    ended = [event for event in executor.play(tasks, []) if isinstance(event, Ended)]
    assert executor.jobs == (jobs or 2)
    assert len(ended) == 4
    assert all(of_worker == of_run for of_worker, of_run in given)
    assert Counter(str(device) for _, device in given) == {"cuda:0": 2, "cuda:1": 2}


@pytest.mark.usefixtures("two_gpus")
def test_a_run_is_the_same_on_whichever_of_several_devices(scenario_file, tmp_path):
    sweep = load_sweep(scenario_file(), (), Flags(seeds=[0]))
    tasks = [tasks_of(sweep, tmp_path, torch.device("cuda", index), timing_only=True)[0] for index in (0, 1)]
    assert tasks[0].identity == tasks[1].identity
    assert tasks[0].identity["device"] == "cuda"


@pytest.mark.parametrize(
    ("command", "device", "said"),
    [
        ("sweep", "cuda:0,cuda:0", "--device: names a device twice; given 'cuda:0,cuda:0'"),
        ("sweep", "cuda:0,cuda:2", "--device: 'cuda:2' asked for, but there are only 2 CUDA devices"),
        (
            "run",
            "cuda:0,cuda:1",
            "--device: one run stays on one device; given 'cuda:0,cuda:1', which only a sweep takes",
        ),
    ],
)
@pytest.mark.usefixtures("two_gpus")
def test_devices_that_are_wrong_are_one_sentence(cli, scenario_file, tmp_path, command, device, said):
    flags = ["--seeds", "0,1"] if command == "sweep" else []
    code, out, err = cli(command, scenario_file(), *flags, "--device", device, "--runs", tmp_path / "runs")
    assert (code, out) == (2, "")
    assert err.strip().endswith(said)
    assert not (tmp_path / "runs").exists()
