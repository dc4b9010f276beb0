"""What an MBA server remembers of every modality: its distance, by whichever reading.

Formulas: see `interlude.simulator.methods.mba.MBA`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor


@dataclass(frozen=True)
class Imbalance:
    """The server's view of every modality."""

    modalities: tuple[str, ...]
    distance: Mapping[str, Tensor] = field(default_factory=dict)
    """D_m, smoothed, of each modality that has been reported."""

    def updated(self, reported: Mapping[str, Tensor], smoothing: float) -> "Imbalance":
        """Return the view after a report: D_m <- (1 - mu) D_m + mu d_m; a first report initialises."""
        distance = dict(self.distance)
        for modality, d in reported.items():
            old = distance.get(modality, d)
            distance[modality] = (1.0 - smoothing) * old + smoothing * d
        return Imbalance(self.modalities, distance)

    def ratios(self, lazy_when: Literal["far", "near"]) -> dict[str, Tensor]:
        """Return r_m = D_m / mean_j D_j ("far"), or the same of 1 / D_m ("near"); 1 until two modalities have a report.

        Both have mean 1 and no r_m above their number. (mean_j D_j / D_m has no bound: a modality that is learned well
        would make its own loss outweigh everything.)
        """
        one = torch.ones(())
        ratios = dict.fromkeys(self.modalities, one)
        if len(self.distance) < 2:
            return ratios
        values = {m: d if lazy_when == "far" else torch.where(d > 0.0, 1.0 / d, 0.0) for m, d in self.distance.items()}
        mean = torch.stack(list(values.values())).mean()
        for modality, value in values.items():
            ratios[modality] = torch.where((value > 0.0) & (mean > 0.0), value / mean, one)
        return ratios
