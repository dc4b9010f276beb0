"""What a BMSFed server remembers of its clients: prototypes, scores and gradients.

Equations: see `interlude.simulator.methods.bmsfed.BMSFed`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from interlude.models.groups import encoder_group
from interlude.models.network import Network
from interlude.simulator.arrays import Floats
from interlude.simulator.methods.bmsfed.measures import SCORE
from interlude.simulator.methods.facility_location import Compared, GradientMap, compared_gradient, pseudo_gradient
from interlude.simulator.methods.prototypes import no_prototypes
from interlude.simulator.training.merge import ClientUpdate
from interlude.simulator.training.transfer import to_device
from interlude.simulator.training.values import by_modality


@dataclass(frozen=True)
class Balance:
    """The server's view of its clients and their modalities."""

    modalities: tuple[str, ...]
    prototypes: Mapping[str, Tensor]
    """[K, D] of each modality, over all clients."""
    scores: Tensor
    """[M, N] last s_m of each client; 0 where it has never reported one."""
    num_samples: Tensor
    """[N] n_k of the clients that have reported, else 0."""
    fused: GradientMap
    """Of the whole model, or of all encoders."""
    single: Mapping[str, GradientMap]
    """Of each modality's encoder alone."""

    @classmethod
    def empty(cls, network: Network, num_clients: int) -> "Balance":
        """Return the view before any report."""
        nothing = GradientMap.empty(num_clients)
        return cls(
            network.modalities,
            no_prototypes(network),
            torch.zeros(len(network.modalities), num_clients),
            torch.zeros(num_clients),
            nothing,
            dict.fromkeys(network.modalities, nothing),
        )

    def ratios(self, modality: str | None = None) -> Tensor:
        """Return how many times better a modality scores than the others on average [N]; of two, A and I, A: eq. 17.

        1 at clients that have not reported it and another one.

        Args:
            modality: whose; None: the first.
        """
        own, others = self._against_others(modality or self.modalities[0])
        return _ratio(own, others)

    def ratio(self, modality: str | None = None) -> Tensor:
        """Return sum_k n_k r_k / sum_k n_k of `ratios`, 1 before any client has reported (eq. 18)."""
        return self._mean(self.ratios(modality))

    def weak(self) -> str:
        """Return the modality that is behind.

        Of A and I it is I where rho > 1 (eq. 18). Of more it is the one left behind by that rule in a series of
        duels, in the order of modalities, each between the one that was behind so far and the next.
        """
        behind = 0
        for other in range(1, len(self.modalities)):
            if bool(self._mean(_ratio(self.scores[behind], self.scores[other])) > 1.0):
                behind = other
        return self.modalities[behind]

    def lead_over(self, weak: str) -> Floats:
        """Return how many times better the others score than a modality [N]: rho_k, or 1 / rho_k for the first."""
        if weak == self.modalities[0]:
            mirrored: Floats = 1.0 / self.ratios().cpu().double().numpy()
            return mirrored
        own, others = self._against_others(weak)
        lead: Floats = _ratio(others, own).cpu().double().numpy()
        return lead

    def _against_others(self, modality: str) -> tuple[Tensor, Tensor]:
        """Return a modality's scores [N], and the mean over the others that each client has reported [N]."""
        index = self.modalities.index(modality)
        others = torch.cat([self.scores[:index], self.scores[index + 1 :]])
        return self.scores[index], others.sum(dim=0) / (others > 0.0).sum(dim=0).clamp(min=1)

    def _mean(self, ratios: Tensor) -> Tensor:
        total = self.num_samples.sum()
        return torch.where(total > 0.0, (self.num_samples * ratios).sum() / total.clamp(min=1.0), 1.0)

    def updated(
        self, updates: Sequence[ClientUpdate], prototypes: Mapping[str, Tensor], compared: Compared | None
    ) -> "Balance":
        """Return the view after updates: "no overheads", only what these clients sent is refreshed.

        Args:
            updates: at least one.
            prototypes: the global prototypes after them.
            compared: the parts whose gradients `fused` compares; None where nothing is selected by gradients.
        """
        device = updates[0].parameters[next(iter(updates[0].parameters))].device
        scores, num_samples = (to_device(known, device).clone() for known in (self.scores, self.num_samples))
        for update in updates:
            num_samples[update.client] = update.num_samples
            for modality, score in by_modality(update.report, SCORE).items():
                scores[self.modalities.index(modality), update.client] = score
        fused, single = self.fused, self.single
        if compared is not None:
            fused, single = self._gradients(updates, compared)
        return Balance(self.modalities, prototypes, scores, num_samples, fused, single)

    def _gradients(
        self, updates: Sequence[ClientUpdate], compared: Compared
    ) -> tuple[GradientMap, Mapping[str, GradientMap]]:
        """Return the refreshed maps: of what a client trained, and where it had never sent a gradient, of all."""
        fused: dict[int, Tensor] = {}
        single: dict[str, dict[int, Tensor]] = {m: {} for m in self.modalities}
        for update in updates:
            client, trained = update.client, [m for m in self.modalities if encoder_group(m) in update.groups]
            if len(trained) > 1 or client not in self.fused.vectors:
                fused[client] = compared_gradient(update, compared)
            for modality in self.modalities:
                if trained == [modality] or client not in self.single[modality].vectors:
                    single[modality][client] = pseudo_gradient(update, encoder_group(modality).__eq__)
        return self.fused.refreshed(fused), {m: self.single[m].refreshed(sent) for m, sent in single.items()}


def _ratio(above: Tensor, below: Tensor) -> Tensor:
    """Return above / below [N], 1 where a client has not reported both."""
    return torch.where((above > 0.0) & (below > 0.0), above / below, 1.0)
