"""Joules, from the timeline and every client's power."""

from collections.abc import Mapping
from math import floor

import numpy as np

from interlude.simulator.arrays import Floats
from interlude.simulator.federation.accounting.rows import ACTIVITIES, Rows
from interlude.simulator.federation.timeline import Activity
from interlude.simulator.world.energy import purpose_of


class Energy:
    """Sums up the joules that all clients together have used until each evaluation, while a run is in progress.

    A span draws power from its start to its end: that of training, that of transfers, or that of everything else
    (waiting, backing off, being stalled, idling). A device that is off draws nothing.

    Args:
        watts: by ``train``, ``radio`` and ``idle``: [N] power of each client.
        every_s: simulated seconds between two evaluations.
    """

    def __init__(self, watts: Mapping[str, Floats], every_s: float) -> None:
        self._watts = watts
        self._every_s = every_s
        self._moments_s = np.zeros(0)
        """[M] evaluations up to the latest end of a row."""
        self._joules: dict[str, Floats] = {name: np.zeros(0) for name in watts}
        """[M] joules until each of them."""
        self._total_j = dict.fromkeys(watts, 0.0)

    def add(self, rows: Rows) -> None:
        """Add rows of the timeline."""
        drawn = {name: rows.where(rows.do(*_activities_for(name))) for name in self._watts}
        ends_s = [float(spans.end_s.max()) for spans in drawn.values() if len(spans) > 0]
        if not ends_s:
            return
        self._extend(max(ends_s))
        for name, spans in drawn.items():
            client_w = self._watts[name][spans.client]
            since_start_j = _until(spans.start_s, client_w, self._moments_s)
            self._joules[name] += since_start_j - _until(spans.end_s, client_w, self._moments_s)
            self._total_j[name] += float((client_w * spans.seconds).sum())

    def until(self, end_s: float) -> tuple[Floats, dict[str, Floats]]:
        """Return the evaluations of a run that ends so, its end the last of them, and the joules until each.

        Args:
            end_s: simulated seconds, with all rows added.
        """
        self._extend(end_s)
        before = self._moments_s < end_s
        joules = {name: np.append(values[before], self._total_j[name]) for name, values in self._joules.items()}
        return np.append(self._moments_s[before], end_s), joules

    def _extend(self, until_s: float) -> None:
        """Add the evaluations up to a moment; until each of the new ones all rows so far have ended."""
        num_moments = max(floor(until_s / self._every_s) + 1, len(self._moments_s))
        new = np.arange(len(self._moments_s), num_moments)
        self._moments_s = np.append(self._moments_s, new * self._every_s)
        for name, values in self._joules.items():
            self._joules[name] = np.append(values, np.full(len(new), self._total_j[name]))


def _activities_for(purpose: str) -> list[Activity]:
    """Return the activities that draw power for a purpose."""
    return [activity for activity in ACTIVITIES if purpose_of(activity) == purpose]


def _until(edges_s: Floats, power: Floats, moments_s: Floats) -> Floats:
    """Return sum_i power_i max(0, t - edge_i) at each moment t."""
    order = np.argsort(edges_s, kind="stable")
    below = np.searchsorted(edges_s[order], moments_s, side="right")
    level = np.append(0.0, np.cumsum(power[order]))
    moment = np.append(0.0, np.cumsum((power * edges_s)[order]))
    joules: Floats = level[below] * moments_s - moment[below]
    return joules
