"""Facility location on clients' gradients: the selection of DivFL and the two-function selection of BMSFed.

A set S of clients represents all N if S holds a similar gradient for every client. The cost of S is
G(S) = sum_i min_{k in S} D_ik with D_ik = ||g_i - g_k||, and greedy selection adds the client that lowers it most.
The functions below work on a matrix D alone; a tie goes to the candidate named first.

* Balakrishnan, Li, Zhou, Himayat, Smith, Bilmes, "Diverse Client Selection for Federated Learning via Submodular
  Maximization", ICLR 2022 (one function).
* Fan, Xu, Wang, Huo, Chen, Guo, "Overcome Modal Bias in Multi-modal Federated Learning via Balanced Modality
  Selection", ECCV 2024, eq. 12-13 (two functions with conflict resolution).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from interlude.models.groups import ENCODER, group_of, part_of
from interlude.simulator.arrays import Floats
from interlude.simulator.federation.views import SelectionView
from interlude.simulator.randomness import Stream
from interlude.simulator.training.merge import ClientUpdate
from interlude.simulator.training.transfer import to_device

Draw = Callable[[int, Sequence[int]], Sequence[int]]
"""The subset R that a greedy step looks at, from the step's index and the clients not selected yet."""

Rule = Literal["paper", "code", "literal"]
Compared = Literal["model", "encoders"]


def subset_draw(view: SelectionView, num_wanted: int, subset_size: int | None) -> Draw:
    """Return the random subsets of one selection's greedy steps, each in the order of clients.

    Args:
        view: the moment of the selection.
        num_wanted: clients to be selected.
        subset_size: clients in a subset; None for `num_wanted` or a tenth of all, the larger.
    """
    stream = Stream(view.seed, "facility-location")
    size, moment = subset_size or max(num_wanted, view.population.num_clients // 10), view.num_returned

    def draw(step: int, left: Sequence[int]) -> Sequence[int]:
        order = stream.generator(moment, step).permutation(len(left))
        return [left[position] for position in sorted(order[:size])]

    return draw


def greedy(distances: Floats, candidates: Sequence[int], num_selected: int, draw: Draw) -> list[int]:
    """Return clients chosen by stochastic greedy facility location (DivFL), in the order of their choice.

    Args:
        distances: [N, N] distances of gradients.
        candidates: who can be chosen.
        num_selected: how many are wanted; fewer are returned where there are fewer candidates.
        draw: the subset that each step looks at.
    """
    left = list(candidates)
    selected: list[int] = []
    nearest = np.full(len(distances), np.inf)
    while left and len(selected) < num_selected:
        best = _best(distances, nearest, draw(len(selected), left))
        nearest = np.minimum(nearest, distances[:, best])
        selected.append(best)
        left.remove(best)
    return selected


def balanced_greedy(
    fused: Floats,
    weak: Floats,
    dominance: Floats,
    candidates: Sequence[int],
    num_selected: int,
    draw: Draw,
    *,
    threshold: float,
    rule: Rule,
) -> tuple[list[int], list[int]]:
    """Return the multi-modal clients S_M and the uni-modal clients S_W of BMSFed (eq. 12-13).

    Each step finds k1, best for S_M by the gradients of all modalities, and k2, best for S_W by those of the weak one.

    * ``paper``: one client a step. k1 = k2 joins S_M, else k2 joins S_W where its imbalance is above the threshold and
      S_M where not, and k1 does not join. A client in S_M stands for others in both functions.
    * ``literal``: up to two clients a step. k1 joins S_M, as eq. 12 says; then k2, if it is another client and there is
      room for it, joins S_W or S_M as in ``paper``. A client in S_M stands for others in both functions.
    * ``code``: one client a step. k2 joins S_W where its imbalance is above the threshold, else k1 joins S_M. Each
      function knows its own set only.

    Args:
        fused: [N, N] distances D^M of all modalities' gradients.
        weak: [N, N] distances D^W of the weak modality's gradients.
        dominance: [N] how many times better the other modality scores than the weak one: rho_k, or 1 / rho_k where
            the first modality is the weak one, so that the threshold mirrors to rho_k < 1 / chi.
        candidates: who can be chosen.
        num_selected: how many are wanted in all.
        draw: the subset that each step looks at.
        threshold: chi.
        rule: whom a step selects.
    """
    left = list(candidates)
    multimodal: list[int] = []
    unimodal: list[int] = []
    nearest_fused, nearest_weak = np.full(len(fused), np.inf), np.full(len(weak), np.inf)
    while left and len(multimodal) + len(unimodal) < num_selected:
        subset = draw(len(multimodal) + len(unimodal), left)
        first, second = _best(fused, nearest_fused, subset), _best(weak, nearest_weak, subset)
        room = num_selected - len(multimodal) - len(unimodal)
        for chosen, is_alone in _placed(rule, first, second, bool(dominance[second] > threshold))[:room]:
            (unimodal if is_alone else multimodal).append(chosen)
            if not is_alone:
                nearest_fused = np.minimum(nearest_fused, fused[:, chosen])
            if is_alone or rule != "code":
                nearest_weak = np.minimum(nearest_weak, weak[:, chosen])
            left.remove(chosen)
    return multimodal, unimodal


def _placed(rule: Rule, first: int, second: int, is_far_behind: bool) -> list[tuple[int, bool]]:
    """Return whom a step with k1 and k2 selects, and whether each is to train the weak modality alone."""
    if rule == "code":
        return [(second, True)] if is_far_behind else [(first, False)]
    if first == second:
        return [(first, False)]
    return [(second, is_far_behind)] if rule == "paper" else [(first, False), (second, is_far_behind)]


def _best(distances: Floats, nearest: Floats, subset: Sequence[int]) -> int:
    """Return the client of a subset with the least sum_i min(nearest_i, D_ik); the first of equals."""
    costs = np.minimum(nearest[:, None], distances[:, list(subset)]).sum(axis=0)
    return subset[int(costs.argmin())]


@dataclass(frozen=True)
class GradientMap:
    """What the server knows of its clients' pseudo-gradients, and their distances."""

    distances: Tensor
    """[N, N]; a client that has sent nothing yet counts as a zero gradient."""
    vectors: Mapping[int, Tensor] = field(default_factory=dict)
    """[P] by client: the last pseudo-gradient it sent."""

    @classmethod
    def empty(cls, num_clients: int) -> "GradientMap":
        """Return the map before any client has sent a gradient."""
        return cls(torch.zeros(()).expand(num_clients, num_clients))

    def refreshed(self, sent: Mapping[int, Tensor]) -> "GradientMap":
        """Return the map after some clients sent gradients [P]: only their rows and columns change."""
        if not sent:
            return self
        vectors = {**self.vectors, **sent}
        silent = torch.zeros_like(next(iter(sent.values())))
        every_client = torch.stack([vectors.get(client, silent) for client in range(len(self.distances))])
        rows = torch.cdist(torch.stack(list(sent.values())), every_client, compute_mode="donot_use_mm_for_euclid_dist")
        distances = to_device(self.distances, rows.device).clone(memory_format=torch.contiguous_format)
        index = to_device(torch.tensor(list(sent)), rows.device)
        distances[index] = rows
        distances[:, index] = rows.T
        return GradientMap(distances, vectors)

    def matrix(self) -> Floats:
        """Return the distances as numbers on the CPU."""
        matrix: Floats = self.distances.cpu().double().numpy()
        return matrix


def pseudo_gradient(update: ClientUpdate, wanted: Callable[[str], bool]) -> Tensor:
    """Return theta_received - theta_k flattened [P], over the parameter groups that `wanted` says yes to."""
    return torch.cat(
        [(update.start[name] - value).flatten() for name, value in update.parameters.items() if wanted(group_of(name))]
    )


def compared_gradient(update: ClientUpdate, parts: Compared) -> Tensor:
    """Return the pseudo-gradient [P] that clients are compared by: of the whole model, or without heads."""
    return pseudo_gradient(update, lambda group: parts == "model" or part_of(group) == ENCODER)
