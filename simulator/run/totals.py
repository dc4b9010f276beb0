"""Totals of a run for its run.json: counts, losses and energy."""

from typing import Any

import numpy as np
import pandas as pd

from interlude.simulator.federation.accounting.energy import energy_j
from interlude.simulator.record.sink import Sink
from interlude.simulator.run.loop import Run
from interlude.simulator.run.observer import moments_s
from interlude.simulator.training.values import FUSED


def totals(run: Run, *notes: str | None) -> dict[str, Any]:
    """Return the totals of a run, finished or not.

    Args:
        run: the run.
        notes: sentences to keep beside those of the executor.
    """
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
        "order_sha256": run.timeline.order_digest(),
    }


def accounts(run: Run, timeline: pd.DataFrame, sink: Sink) -> dict[str, Any]:
    """Return the losses of a finished run and, if the world gives devices' power, its energy.

    Adds the joules at every evaluation to the metrics, for all clients together.

    Args:
        run: the run.
        timeline: all rows of it.
        sink: receives the metrics.
    """
    scenario = run.spec.scenario
    found: dict[str, Any] = {"lost": run.server.losses.totals(timeline)}
    spec = scenario.world.energy
    if spec is not None:
        moments = [*moments_s(scenario.evaluate.every_s, run.end_s)]
        watts = spec.watts(scenario.seed, run.server.population.num_clients)
        joules = energy_j(timeline, watts, moments)
        found["energy_j"] = {purpose: float(values[-1]) for purpose, values in joules.items()}
        made_s = timeline.loc[timeline["activity"] == "merge"].groupby("version")["end_s"].min()
        versions = np.searchsorted(made_s.to_numpy(), moments, side="right")
        sums = np.sum(list(joules.values()), axis=0).tolist()
        for moment_s, version, joule in zip(moments, versions.tolist(), sums, strict=True):
            sink.add_metrics(moment_s, version, [("energy_j", FUSED, joule)])
    return found
