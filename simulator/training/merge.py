"""How updates become the next global model: pure arithmetic per parameter group.

Notation: theta the global model, theta_k a client's result, theta^(v_k) the version it started from. A group changes
only by the updates that trained it; a group that nobody trained stays as it is, never averaged with stale copies.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from models.network import Parameters, group_of
from simulator.training.objective import Values

Weight = float | Tensor


@dataclass(frozen=True, slots=True)
class Arrived:
    """An update at the moment it is merged, its values computed."""

    client: int
    groups: tuple[str, ...]
    """The groups that were trained and sent."""
    num_samples: int
    """Samples the client trained on, n_k."""
    staleness: int
    """Versions merged since the update's start version."""
    parameters: Parameters
    start: Parameters
    """The global model that the client had received."""
    report: Values


def weighted_mean(model: Parameters, updates: Sequence[Arrived]) -> Parameters:
    """Return sum_k n_k theta_k / sum_k n_k per group, over the updates that hold the group (FedAvg)."""
    merged = dict(model)
    for name in model:
        holders = [update for update in updates if group_of(name) in update.groups]
        if holders:
            total = sum(update.num_samples for update in holders)
            weighted = [update.parameters[name] * (update.num_samples / total) for update in holders]
            merged[name] = torch.stack(weighted).sum(dim=0)
    return merged


def mix(model: Parameters, update: Arrived, alpha: Mapping[str, Weight]) -> Parameters:
    """Return (1 - alpha_g) theta + alpha_g theta_k for each group g that the update holds (FedAsync).

    Args:
        model: theta.
        update: the update to mix in.
        alpha: mixing weight of each group, a number or a 0-d tensor.
    """
    merged = dict(model)
    for name, value in model.items():
        group = group_of(name)
        if group in update.groups:
            weight = torch.as_tensor(alpha[group], dtype=value.dtype, device=value.device)
            merged[name] = torch.lerp(value, update.parameters[name], weight)
    return merged


def add_deltas(
    model: Parameters, updates: Sequence[Arrived], weight: Callable[[int, str], Weight], learning_rate: float
) -> Parameters:
    """Return theta + learning_rate * sum_k w_kg (theta_k - theta^(v_k)) per group g (FedBuff and its relatives).

    Args:
        model: theta.
        updates: the updates of one buffer.
        weight: w_kg by the update's position in `updates` and the group; asked only for groups that the update holds.
        learning_rate: the server's step size.
    """
    merged = dict(model)
    for name in model:
        group = group_of(name)
        deltas = [
            (update.parameters[name] - update.start[name]) * weight(position, group)
            for position, update in enumerate(updates)
            if group in update.groups
        ]
        if deltas:
            merged[name] = model[name] + learning_rate * torch.stack(deltas).sum(dim=0)
    return merged


def num_holders(updates: Sequence[Arrived], group: str) -> int:
    """Return how many updates hold a group."""
    return sum(group in update.groups for update in updates)
