"""Joules, from the timeline and every client's power."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from interlude.simulator.arrays import Floats
from interlude.simulator.federation.timeline import what

_PURPOSES = {"train": "train", "train_unimodal": "train", "download": "radio", "upload": "radio"}
_NOTHING = frozenset({"merge", "off"})


def energy_j(timeline: pd.DataFrame, watts: Mapping[str, Floats], moments_s: Sequence[float]) -> dict[str, Floats]:
    """Return the joules that all clients have drawn until each moment.

    A span draws its power from its start to its end; training, transfers and everything else (waiting, pausing, being
    held up, idling) each their own. A device that is off draws nothing.

    Args:
        timeline: all rows of a run.
        watts: by ``train``, ``radio`` and ``idle``: [N] power of each client.
        moments_s: [M] simulated seconds.

    Returns:
        [M] joules for each of ``train``, ``radio`` and ``idle``.
    """
    purposes = {kind: _PURPOSES.get(what(str(kind)), "idle") for kind in timeline["kind"].unique()}
    drawn = timeline[~timeline["kind"].isin(_NOTHING)]
    purpose = drawn["kind"].astype(str).map(purposes)
    joules = {}
    for name, power in watts.items():
        spans = drawn[purpose == name]
        client_w = power[spans["client"].to_numpy()]
        joules[name] = _until(spans["start_s"].to_numpy(), client_w, moments_s) - _until(
            spans["end_s"].to_numpy(), client_w, moments_s
        )
    return joules


def _until(edges_s: Floats, power: Floats, moments_s: Sequence[float]) -> Floats:
    """Return sum_i power_i max(0, t - edge_i) at each moment t."""
    order = np.argsort(edges_s, kind="stable")
    below = np.searchsorted(edges_s[order], moments_s, side="right")
    level = np.append(0.0, np.cumsum(power[order]))
    moment = np.append(0.0, np.cumsum((power * edges_s)[order]))
    joules: Floats = level[below] * np.asarray(moments_s) - moment[below]
    return joules
