"""Totals of a run for its run.json: counts, and how it ended."""

from typing import Any

from interlude.simulator.errors import DivergedError
from interlude.simulator.run.loop import Run


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
    end_s, batteries = run.end_s or run.clock.now, run.server.fleet.batteries
    kept = [*(run.trainer.notes if run.trainer is not None else ()), *filter(None, notes)]
    return {
        **({"notes": kept} if kept else {}),
        **({} if batteries is None else {"batteries": batteries.totals(end_s)}),
        "simulated_s": end_s,
        "ended_by": run.ended_by,
        "host_s": run.host_s,
        "events": run.clock.num_events,
        "versions": run.server.version,
        "local_rounds": run.server.fleet.num_returned,
        "rejected_updates": run.server.num_rejected,
        "diverged_at_s": diverged_at_s,
        "order_sha256": run.timeline.order_digest(),
    }
