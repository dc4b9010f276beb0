"""Every method on a device against the CPU, and where it waits for the device."""

import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import torch
from accelerators import DECISIONS, END, EVALUATION, ONCE, place, small_scenario

from interlude import parse_scenario, run_scenario
from interlude.simulator.run.interruption import ResumePolicy


def compared(method: str, device: torch.device) -> dict[str, Any]:
    """Return how a method's run on a device compares with the CPU's."""
    scenario = parse_scenario(small_scenario(method))
    with tempfile.TemporaryDirectory() as runs:
        (here,) = run_scenario(scenario, runs=f"{runs}/cpu", device="cpu", workers=1)
        started = time.perf_counter()
        (there,) = run_scenario(scenario, runs=f"{runs}/there", device=str(device), workers=1)
        seconds = time.perf_counter() - started
        values = [record.metrics.set_index(["time_s", "metric", "modality"])["value"] for record in (here, there)]
    apart = (values[0] - values[1]).abs().groupby("metric").max()
    return {
        "name": method,
        "same_order": here.info["totals"]["order_sha256"] == there.info["totals"]["order_sha256"],
        "loss_apart": float(apart["loss"]),
        "accuracy_apart": float(apart["accuracy"]),
        "seconds": round(seconds, 2),
    }


def waits(method: str, device: torch.device) -> dict[str, Any]:
    """Return the places of the product where a run waits for the device, and those among them that should not."""
    scenario, seen = parse_scenario(small_scenario(method)), dict[str, int]()

    def note(message: Any, *_: Any, **__: Any) -> None:
        if "synchroniz" in str(message):
            at = place()
            seen[at] = seen.get(at, 0) + 1

    mode = torch.cuda.get_sync_debug_mode() if device.type == "cuda" else None
    with tempfile.TemporaryDirectory() as runs, warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = note
        try:
            if mode is not None:
                torch.cuda.set_sync_debug_mode("warn")
            policy = ResumePolicy(checkpoint_every_s=0.0)  # a checkpoint reads everything
            run_scenario(scenario, runs=Path(runs), device=str(device), workers=1, policy=policy)
        finally:
            if mode is not None:
                torch.cuda.set_sync_debug_mode(mode)
    allowed = ONCE | EVALUATION | END | DECISIONS
    return {
        "name": method,
        "waits": None if mode is None else sum(seen.values()),
        "unexpected": None if mode is None else {at: times for at, times in seen.items() if at not in allowed},
    }
