"""The devices that runs train on: the CPU, or an accelerator that PyTorch finds here."""

from types import ModuleType

import torch

from interlude.simulator.errors import BadInputError

_WITHOUT_FLOAT64 = {"mps"}
"""Accelerators that cannot evaluate, which adds up in float64."""


def choose_device(name: str) -> torch.device:
    """Return the device of a run.

    Args:
        name: ``auto`` (a CUDA device if there is one, else the CPU), ``cpu``, ``cuda`` or ``cuda:N``; or another
            accelerator of this PyTorch, as ``xpu``.

    Raises:
        BadInputError: if it is not a device, or not available, or several.
    """
    if "," in name:
        raise BadInputError(f"--device: one run stays on one device; given '{name}', which only a sweep takes")
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return _found(name)


def choose_devices(names: str) -> list[torch.device]:
    """Return the devices of a sweep's runs, each of which stays on one of them.

    Args:
        names: as `choose_device` takes them, several by commas; ``auto``: every CUDA device, or the CPU.

    Raises:
        BadInputError: as `choose_device`; or if a device is given twice, or beside another kind of device.
    """
    if names == "auto" and torch.cuda.is_available() and torch.cuda.device_count() > 1:
        return [torch.device("cuda", index) for index in range(torch.cuda.device_count())]
    if "," not in names:
        return [choose_device(names)]
    devices = [_found(name) for name in names.split(",")]
    if len({device.type for device in devices}) > 1:
        raise BadInputError(f"--device: several devices must be of one kind, as in cuda:0,cuda:1; given '{names}'")
    if len({device.index or 0 for device in devices}) < len(devices):
        raise BadInputError(f"--device: names a device twice; given '{names}'")
    return devices


def description(device: torch.device) -> str:
    """Return a device and, where PyTorch knows it, what hardware it is."""
    named = getattr(_module_of(device.type), "get_device_name", None)
    return str(device) if named is None else f"{device}, {named(device)}"


def wait_for(device: torch.device) -> None:
    """Wait until a device has done what it was given."""
    module = _module_of(device.type)
    if module is not None and device.type != "cpu":
        module.synchronize(device)


def _found(name: str) -> torch.device:
    """Return a device that is here."""
    refusal = f"--device: must be one of auto, cpu, cuda, cuda:N; given '{name}'"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise BadInputError(refusal) from None
    if name == "cpu":
        return device
    module = _module_of(device.type)
    if module is None or device.type == "cpu":
        raise BadInputError(refusal)
    kind = device.type.upper()
    if not module.is_available():
        raise BadInputError(f"--device: '{name}' asked for, but PyTorch finds no {kind} device here; use auto or cpu")
    if (device.index or 0) >= module.device_count():
        raise BadInputError(f"--device: '{name}' asked for, but there are only {module.device_count()} {kind} devices")
    if device.type in _WITHOUT_FLOAT64:
        raise BadInputError(f"--device: '{name}' does not compute in float64, which evaluation needs; use cpu")
    return device


def _module_of(kind: str) -> ModuleType | None:
    """Return what PyTorch offers of a kind of device, e.g. `torch.cuda`; None where it tells nothing of it."""
    module = getattr(torch, kind, None)
    return module if hasattr(module, "is_available") and hasattr(module, "device_count") else None
