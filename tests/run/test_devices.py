"""Which device a run takes."""

import pytest
import torch

from interlude.simulator.errors import BadInputError
from interlude.simulator.run.devices import choose_device


@pytest.mark.parametrize("device", ["tpu", "gpu", "", "CPU", "cuda0"])
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
