"""Which device a run takes."""

import pytest
import torch

from interlude.simulator.errors import BadInputError
from interlude.simulator.run.devices import choose_device, choose_devices


@pytest.mark.parametrize("device", ["tpu", "gpu", "", "CPU", "cuda0", "cpu:0", "meta", "cuda:\u0661"])
def test_a_device_that_is_none_is_answered_with_what_is(device):
    with pytest.raises(BadInputError, match="auto, cpu, cuda, cuda:N"):
        choose_device(device)


def test_a_device_that_is_not_here_is_named(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(BadInputError, match="no CUDA device here"):
        choose_device("cuda:1")
    assert choose_device("auto") == torch.device("cpu")


@pytest.mark.parametrize("device", ["cuda:x", "cuda:", "cuda:-1", "cuda:7"])
def test_a_device_number_that_is_none_or_not_here_is_refused_on_a_gpu_machine_too(device, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(BadInputError, match="--device"):
        choose_device(device)


@pytest.fixture
def two_gpus(monkeypatch):
    """Let PyTorch find two CUDA devices."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


@pytest.mark.usefixtures("two_gpus")
@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("cuda:1,cuda:0", ["cuda:1", "cuda:0"]),
        ("auto", ["cuda:0", "cuda:1"]),
        ("cuda", ["cuda"]),
        ("cpu", ["cpu"]),
    ],
)
def test_a_sweep_takes_several_devices(given, expected):
    assert [str(device) for device in choose_devices(given)] == expected


@pytest.mark.usefixtures("two_gpus")
@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("cuda:0,cuda:0", "names a device twice; given 'cuda:0,cuda:0'"),
        ("cuda,cuda:0", "names a device twice"),
        ("cuda:0,cuda:5", "'cuda:5' asked for, but there are only 2 CUDA devices"),
        ("cuda:0,", "must be one of auto, cpu, cuda, cuda:N; given ''"),
        ("cuda:0,auto", "must be one of auto, cpu, cuda, cuda:N; given 'auto'"),
        ("cuda:0,cpu", "several devices must be of one kind"),
    ],
)
def test_devices_of_a_sweep_that_are_wrong_are_named(given, said):
    with pytest.raises(BadInputError, match=said):
        choose_devices(given)


@pytest.mark.usefixtures("two_gpus")
def test_a_run_stays_on_one_device():
    with pytest.raises(BadInputError, match="one run stays on one device; given 'cuda:0,cuda:1'"):
        choose_device("cuda:0,cuda:1")
