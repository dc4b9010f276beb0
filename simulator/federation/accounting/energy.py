"""Joules, from the timeline and every client's power."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from interlude.simulator.arrays import Floats

_PURPOSES = {"train": "train", "train_unimodal": "train", "download": "radio", "upload": "radio"}
_DRAW_NOTHING = ("merge", "off")


class Energy:
    """Sums up the joules that all clients together have used until each moment.

    A span draws power from its start to its end: that of training, that of transfers, or that of everything else
    (waiting, backing off, being stalled, idling). A device that is off draws nothing.

    Args:
        watts: by ``train``, ``radio`` and ``idle``: [N] power of each client.
        moments_s: [M] simulated seconds.
    """

    def __init__(self, watts: Mapping[str, Floats], moments_s: Sequence[float]) -> None:
        self._watts = watts
        self._moments_s = moments_s
        self.joules: dict[str, Floats] = {name: np.zeros(len(moments_s)) for name in watts}
        """[M] joules for each of ``train``, ``radio`` and ``idle``."""

    def add(self, part: pd.DataFrame) -> None:
        """Add rows of the timeline."""
        drawn = part[~part["activity"].isin(_DRAW_NOTHING)]
        purpose = drawn["activity"].map(_PURPOSES).fillna("idle")
        for name, power in self._watts.items():
            spans = drawn[purpose == name]
            client_w = power[spans["client"].to_numpy()]
            since_start_j = _until(spans["start_s"].to_numpy(), client_w, self._moments_s)
            self.joules[name] += since_start_j - _until(spans["end_s"].to_numpy(), client_w, self._moments_s)


def _until(edges_s: Floats, power: Floats, moments_s: Sequence[float]) -> Floats:
    """Return sum_i power_i max(0, t - edge_i) at each moment t."""
    order = np.argsort(edges_s, kind="stable")
    below = np.searchsorted(edges_s[order], moments_s, side="right")
    level = np.append(0.0, np.cumsum(power[order]))
    moment = np.append(0.0, np.cumsum((power * edges_s)[order]))
    joules: Floats = level[below] * np.asarray(moments_s) - moment[below]
    return joules
