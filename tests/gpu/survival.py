"""A run that is killed on a device, and resumed there."""

import tempfile
import time
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from accelerators import content, small_scenario

from interlude import RunRecord, parse_scenario, run_scenario
from interlude.simulator.run.interruption import ResumePolicy

_PATIENCE_S = 60.0


def survives(device: torch.device, is_smoke: bool) -> dict[str, Any]:
    """Return whether a run that is killed once it is saved, and resumed, writes the bytes of an undisturbed one."""
    method = "fedavg" if is_smoke else "mba"
    scenario = small_scenario(method, until={"simulated_s": 20 if is_smoke else 200})
    with tempfile.TemporaryDirectory() as directory:
        runs = Path(directory)
        context = get_context("fork" if device.type == "cpu" else "spawn")  # CUDA does not survive a fork
        process = context.Process(target=play, args=(scenario, runs / "killed", str(device), 0.05))
        process.start()
        until_s = time.monotonic() + _PATIENCE_S
        while process.is_alive() and time.monotonic() < until_s and not list(runs.rglob("*.safetensors")):
            time.sleep(0.002)
        was_killed = process.is_alive()
        process.kill()
        process.join()
        killed = play(scenario, runs / "killed", str(device))
        undisturbed = play(scenario, runs / "undisturbed", str(device))
        is_same = content(killed) == content(undisturbed)
    return {"name": method, "was_killed_in_mid_run": was_killed, "is_same": is_same}


def play(scenario: dict[str, Any], runs: Path, device: str, checkpoint_every_s: float = 0.0) -> RunRecord:
    """Run a scenario of one method, resumed where it was saved."""
    policy = ResumePolicy(resume=True, checkpoint_every_s=checkpoint_every_s)
    (record,) = run_scenario(parse_scenario(scenario), runs=runs, device=device, workers=1, policy=policy)
    return record
