"""Plays runs on a pretend accelerator, in a process of its own: requests come as JSON, and so do the findings.

    python plays.py < requests.json > findings.json

A request: ``scenario``, the mapping of a scenario of one method; and ``stop_at``, the event of the clock after which
its run on the accelerator is stopped and resumed, or null.
"""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerators import content
from pretend_device import Crossings, install

from interlude import RunRecord, parse_scenario, run_scenario
from interlude.simulator.run import experiment
from interlude.simulator.run.interruption import Interrupted, ResumePolicy
from interlude.simulator.training.stacked.trainer import StackedTrainer

UNSAVED = ResumePolicy(resume=True, checkpoint_every_s=0.0)
"""On a slow machine a run would be saved, which reads everything."""


def findings(request: dict[str, Any], runs: Path) -> dict[str, Any]:
    """Return how a run on the accelerator compares with the CPU's, and what crossed between host and device."""
    scenario = parse_scenario(request["scenario"])
    (on_cpu,) = run_scenario(scenario, runs=runs / "cpu", device="cpu", workers=1)
    crossings, stacks = Crossings(), []
    with pytest.MonkeyPatch.context() as patch, crossings.listening():
        run_steps = StackedTrainer._run_steps
        patch.setattr(StackedTrainer, "_run_steps", lambda *args: (stacks.append(1), run_steps(*args))[1])
        (on_device,) = run_scenario(scenario, runs=runs / "there", device="pretend:0", workers=1, policy=UNSAVED)
    return {
        "same_order": on_cpu.info["totals"]["order_sha256"] == on_device.info["totals"]["order_sha256"],
        "other_files": [name for name, written in content(on_cpu).items() if content(on_device).get(name) != written],
        "apart": float((on_cpu.metrics["value"] - on_device.metrics["value"]).abs().max()),
        "accelerator": on_device.info.get("accelerator"),
        "local_rounds": on_device.info["totals"]["local_rounds"],
        "versions": on_device.info["totals"]["versions"],
        "stacks": len(stacks),
        "sent": crossings.of("sent"),
        "waited": crossings.of("sent and waited"),
        "read": crossings.of("read"),
        "resumed": None if request["stop_at"] is None else _resumed(request, runs / "resumed", on_device),
    }


def _resumed(request: dict[str, Any], runs: Path, undisturbed: RunRecord) -> bool:
    """Return whether a run that is stopped and resumed writes what the undisturbed one wrote."""
    scenario = parse_scenario(request["scenario"])
    policy = ResumePolicy(resume=True, interruption=stopping_at(request["stop_at"]), checkpoint_every_s=1e6)
    with pytest.raises(Interrupted):
        run_scenario(scenario, runs=runs, device="pretend:0", workers=1, policy=policy)
    assert list(runs.rglob("*.safetensors")), "the run was saved"
    (record,) = run_scenario(scenario, runs=runs, device="pretend:0", workers=1, policy=UNSAVED)
    return content(record) == content(undisturbed)


def stopping_at(event: float) -> Any:
    """Return what stops a run after an event of its clock."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "run"))
    from conftest import AtEvents

    return AtEvents(event)


def instrument() -> dict[str, Any]:
    """Return what the pretend device makes of a program that a GPU would refuse, and of one that waits."""
    here, device = torch.ones(3), torch.device("pretend:0")
    there, refused = here.to(device), []
    for mixed in (lambda: there + here, lambda: torch.stack([there, here]), lambda: there + here.to("pretend:1")):
        try:
            mixed()
        except RuntimeError:
            refused.append(True)
    crossings = Crossings()
    with crossings.listening():
        float(there.sum())
        there.tolist()
        there.cpu()
        there[torch.tensor([0])]
        torch.tensor([1.0], device=device)
        here.pin_memory().to(device, non_blocking=True)
    counts = {kind: sum(crossings.of(kind).values()) for kind in ("read", "sent and waited", "sent")}
    return {"refused": len(refused), **counts}


def main() -> None:
    """Answer every request."""
    install()
    experiment.estimate = lambda *_, **__: []  # with the accounts half the time of such small runs
    experiment.accounts = lambda *_: {}
    requests, found = json.load(sys.stdin), {"instrument": instrument()}
    for name, request in requests.items():
        with tempfile.TemporaryDirectory() as runs:
            try:
                found[name] = findings(request, Path(runs))
            except (Exception, pytest.fail.Exception) as error:
                found[name] = {"error": f"{type(error).__name__}: {error}"}
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
