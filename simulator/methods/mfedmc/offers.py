"""What MFedMC's server knows of the clients, and what they offer by it."""

from collections.abc import Mapping
from dataclasses import dataclass

from interlude.simulator.methods.mfedmc.objective import IMPACT
from interlude.simulator.methods.mfedmc.options import MFedMCOptions
from interlude.simulator.training.merge import ClientUpdate
from interlude.simulator.training.transfer import numbers
from interlude.simulator.training.values import by_modality

_SMALLEST_SPREAD = 1e-10


@dataclass(frozen=True)
class Offers:
    """What the server knows of the clients."""

    sizes: Mapping[str, int]
    """Bytes of each modality's encoder and head slice."""
    num_rounds: int
    last: Mapping[int, Mapping[str, int]]
    """The round in which a client last offered a modality."""
    trained: Mapping[int, ClientUpdate]
    """What the clients of this round have trained, which stays with them until they are asked for it, and reported."""

    def priorities(self, client: int, options: MFedMCOptions) -> dict[str, float]:
        """Return alpha_s impact + alpha_c (1 - size) + alpha_r recency of each modality that a client trained."""
        reported = by_modality(self.trained[client].report, IMPACT)
        impacts = dict(zip(reported, numbers(reported.values()), strict=True))
        return priorities(
            spread(impacts),
            spread({m: self.sizes[m] for m in impacts}),
            {m: self.recency(client, m) for m in impacts},
            options,
        )

    def recency(self, client: int, modality: str) -> float:
        """Return the share of the rounds so far since a client last offered a modality."""
        return (self.num_rounds - self.last.get(client, {}).get(modality, -1)) / (self.num_rounds + 1)


def priorities(
    impacts: Mapping[str, float], sizes: Mapping[str, float], recency: Mapping[str, float], options: MFedMCOptions
) -> dict[str, float]:
    """Return the priority of each modality from numbers in [0, 1]."""
    return {
        m: options.impact_weight * impacts[m]
        + options.size_weight * (1.0 - sizes[m])
        + options.recency_weight * recency[m]
        for m in impacts
    }


def spread(values: Mapping[str, float]) -> dict[str, float]:
    """Return the values moved and scaled to [0, 1]; all 0 where they are alike."""
    least = min(values.values())
    width = max(values.values()) - least + _SMALLEST_SPREAD
    return {m: (value - least) / width for m, value in values.items()}
