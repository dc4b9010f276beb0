"""The accounts of a run, kept while its timeline is written: invariants, losses, energy, and what time was spent on."""

from typing import Any

import numpy as np
import pyarrow as pa

from interlude.simulator.federation.accounting.energy import Energy
from interlude.simulator.federation.accounting.invariants import Audit
from interlude.simulator.federation.accounting.losses import Losses
from interlude.simulator.federation.accounting.rows import Rows
from interlude.simulator.federation.accounting.spent import Spent
from interlude.simulator.record.sink import Sink
from interlude.simulator.scenario.scenario import Scenario
from interlude.simulator.training.values import FUSED
from interlude.simulator.world.world import World


class Accounts:
    """Reads all rows of a timeline part by part, those too that the record does not hold.

    Args:
        scenario: the run's.
        world: when clients are on.
        num_clients: clients in the world.
        losses: receives what rows lost.
    """

    def __init__(self, scenario: Scenario, world: World, num_clients: int, losses: Losses) -> None:
        power = scenario.world.energy
        self._audit = Audit(num_clients, world.availability)
        self._losses = losses
        self._spent = Spent()
        self._energy = (
            None if power is None else Energy(power.watts(scenario.seed, num_clients), scenario.evaluate.every_s)
        )

    def end(self, end_s: float) -> None:
        """Take note of the end of the run, before the rows that it cuts."""
        self._audit.end_s = end_s

    def add(self, table: pa.Table) -> None:
        """Check and count the next rows.

        Raises:
            BrokenInvariantError: if they break an invariant.
        """
        rows = Rows.of(table)
        self._audit.add(rows)
        self._losses.add_rows(rows)
        self._spent.add(rows)
        if self._energy is not None:
            self._energy.add(rows)

    def totals(self, sink: Sink) -> dict[str, Any]:
        """Return what the run lost, what its end cut, and what it spent, once all rows are added.

        Energy is counted where the world gives devices' power. The joules at every evaluation, for all clients
        together, go to the metrics.

        Args:
            sink: receives the metrics.

        Raises:
            BrokenInvariantError: if the whole timeline breaks an invariant.
        """
        self._audit.finish()
        found: dict[str, Any] = {
            "lost": self._losses.totals(),
            "cut": {"bytes_up": self._losses.bytes_up_cut, "bytes_down": self._losses.bytes_down_cut},
            "spent": self._spent.totals(),
        }
        if self._energy is not None:
            moments_s, joules = self._energy.until(self._audit.end_s)
            found["energy_j"] = {purpose: float(values[-1]) for purpose, values in joules.items()}
            sums = np.sum(list(joules.values()), axis=0).tolist()
            versions = np.searchsorted(self._audit.made_s[1:], moments_s, side="right")
            for moment_s, version, joule in zip(moments_s.tolist(), versions.tolist(), sums, strict=True):
                sink.add_metrics(moment_s, version, [("energy_j", FUSED, joule)])
        return found
