"""Totals of a run for its run.json: counts, losses and energy."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from interlude.simulator.errors import DivergedError
from interlude.simulator.federation.accounting.energy import Energy
from interlude.simulator.federation.accounting.invariants import Audit
from interlude.simulator.record.sink import Sink
from interlude.simulator.run.loop import Run
from interlude.simulator.run.observer import moments_s
from interlude.simulator.training.values import FUSED
from interlude.simulator.world.world import World


def totals(run: Run, *notes: str | None, error: BaseException | None = None) -> dict[str, Any]:
    """Return the totals of a run, finished or not.

    ``diverged_at_s`` names a run whose training diverged: the simulated second of the first evaluation from which on
    the model stays so (`evaluation.has_diverged`), else that at which a training loss that is not finite stopped the
    run; None if neither.

    Args:
        run: the run.
        notes: sentences to keep beside those of the executor.
        error: what broke the run off.
    """
    diverged_at_s = run.observer.diverged_at_s
    if diverged_at_s is None and isinstance(error, DivergedError):
        diverged_at_s = run.clock.now
    kept = [*(run.trainer.notes if run.trainer is not None else ()), *filter(None, notes)]
    return {
        **({"notes": kept} if kept else {}),
        "simulated_s": run.end_s or run.clock.now,
        "ended_by": run.ended_by,
        "host_s": run.host_s,
        "events": run.clock.num_events,
        "versions": run.server.version,
        "local_rounds": run.server.fleet.num_returned,
        "rejected_updates": run.server.num_rejected,
        "diverged_at_s": diverged_at_s,
        "order_sha256": run.timeline.order_digest(),
    }


def accounts(run: Run, world: World, parts: Iterable[pd.DataFrame], sink: Sink) -> dict[str, Any]:
    """Check the timeline of a finished run; return its losses, what its end cut, and its energy.

    Energy is counted where the world gives devices' power. The joules at every evaluation, for all clients together,
    go to the metrics.

    Args:
        run: the run.
        world: when clients are on.
        parts: the rows of its timeline, part by part; one is held at a time.
        sink: receives the metrics.

    Raises:
        BrokenInvariantError: if the timeline breaks an invariant.
    """
    scenario, population = run.spec.scenario, run.server.population
    audit = Audit(population.num_clients, run.end_s, world.availability)
    power, moments = scenario.world.energy, [*moments_s(scenario.evaluate.every_s, run.end_s)]
    energy = None if power is None else Energy(power.watts(scenario.seed, population.num_clients), moments)
    losses = run.server.losses
    for part in parts:
        audit.add(part)
        losses.add_rows(part)
        if energy is not None:
            energy.add(part)
    audit.finish()
    found: dict[str, Any] = {
        "lost": losses.totals(),
        "cut": {"bytes_up": losses.bytes_up_cut, "bytes_down": losses.bytes_down_cut},
    }
    if energy is not None:
        found["energy_j"] = {purpose: float(values[-1]) for purpose, values in energy.joules.items()}
        sums = np.sum(list(energy.joules.values()), axis=0).tolist()
        versions = np.searchsorted(audit.made_s[1:], moments, side="right")
        for moment_s, version, joule in zip(moments, versions.tolist(), sums, strict=True):
            sink.add_metrics(moment_s, version, [("energy_j", FUSED, joule)])
    return found
