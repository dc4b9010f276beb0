"""What a BMSFed server remembers of its clients: prototypes, scores and gradients.

Equations: see `simulator.methods.bmsfed`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from simulator.methods.facility_location import GradientMap, pseudo_gradient
from simulator.training.merge import Arrived


@dataclass(frozen=True)
class Balance:
    """The server's view of its clients and their two modalities, A and I."""

    modalities: tuple[str, ...]
    prototypes: Mapping[str, Tensor]
    """[K, D] of each modality, over all clients."""
    scores: Tensor
    """[2, N] last s_A and s_I of each client; 0 where it has never reported one."""
    num_samples: Tensor
    """[N] n_k of the clients that have reported, else 0."""
    fused: GradientMap
    """Of both encoders."""
    single: Mapping[str, GradientMap]
    """Of each modality's encoder alone."""

    def ratios(self) -> Tensor:
        """Return rho_k = s_A / s_I [N], 1 where a client has not reported both (eq. 17)."""
        first, second = self.scores
        return torch.where((first > 0.0) & (second > 0.0), first / second, 1.0)

    def ratio(self) -> Tensor:
        """Return rho = sum_k n_k rho_k / sum_k n_k, 1 before anybody has reported (eq. 18)."""
        total = self.num_samples.sum()
        return torch.where(total > 0.0, (self.num_samples * self.ratios()).sum() / total.clamp(min=1.0), 1.0)

    def updated(self, updates: Sequence[Arrived], prototypes: Mapping[str, Tensor], has_gradients: bool) -> "Balance":
        """Return the view after updates: "no overheads", only what these clients sent is refreshed."""
        device = updates[0].parameters[next(iter(updates[0].parameters))].device
        scores, num_samples = self.scores.to(device).clone(), self.num_samples.to(device).clone()
        for update in updates:
            num_samples[update.client] = update.num_samples
            for modality, score in update.report.get("score", {}).items():
                scores[self.modalities.index(modality), update.client] = score
        fused, single = self._gradients(updates) if has_gradients else (self.fused, self.single)
        return Balance(self.modalities, prototypes, scores, num_samples, fused, single)

    def _gradients(self, updates: Sequence[Arrived]) -> tuple[GradientMap, Mapping[str, GradientMap]]:
        """Return the refreshed maps: of what a client trained, and where it had never sent a gradient, of all."""
        fused: dict[int, Tensor] = {}
        single: dict[str, dict[int, Tensor]] = {m: {} for m in self.modalities}
        for update in updates:
            client, trained = update.client, [m for m in self.modalities if f"encoder.{m}" in update.groups]
            parts = [pseudo_gradient(update, f"encoder.{m}".__eq__) for m in self.modalities]
            whole = torch.cat(parts)
            both = len(trained) == len(self.modalities)
            if both or client not in self.fused.vectors:
                fused[client] = whole
            for modality, part in zip(self.modalities, torch.split(whole, [len(part) for part in parts]), strict=True):
                if trained == [modality] or client not in self.single[modality].vectors:
                    single[modality][client] = part
        return self.fused.refreshed(fused), {m: self.single[m].refreshed(sent) for m, sent in single.items()}
