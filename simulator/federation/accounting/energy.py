"""Joules, from the timeline and every client's power."""

from collections.abc import Mapping
from math import floor

import numpy as np
import pandas as pd

from interlude.simulator.arrays import Floats
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

    def add(self, part: pd.DataFrame) -> None:
        """Add rows of the timeline."""
        purposes = {activity: purpose_of(activity) for activity in part["activity"].unique()}
        drawn = part[part["activity"].map(purposes).notna()]
        if drawn.empty:
            return
        self._extend(float(drawn["end_s"].max()))
        purpose = drawn["activity"].map(purposes)
        for name, power in self._watts.items():
            spans = drawn[purpose == name]
            start_s, end_s = spans["start_s"].to_numpy(), spans["end_s"].to_numpy()
            client_w = power[spans["client"].to_numpy()]
            since_start_j = _until(start_s, client_w, self._moments_s)
            self._joules[name] += since_start_j - _until(end_s, client_w, self._moments_s)
            self._total_j[name] += float((client_w * (end_s - start_s)).sum())

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


def _until(edges_s: Floats, power: Floats, moments_s: Floats) -> Floats:
    """Return sum_i power_i max(0, t - edge_i) at each moment t."""
    order = np.argsort(edges_s, kind="stable")
    below = np.searchsorted(edges_s[order], moments_s, side="right")
    level = np.append(0.0, np.cumsum(power[order]))
    moment = np.append(0.0, np.cumsum((power * edges_s)[order]))
    joules: Floats = level[below] * moments_s - moment[below]
    return joules
