"""How updates become the next global model: pure arithmetic per parameter group.

Notation: theta the global model, theta_k a client's result, theta^(v_k) the version it started from. A group changes
only by the updates that trained it; a group that no update trained stays as it is, never averaged with stale copies.
Parameters are packed, so that a run of groups with the same holders is merged in one operation.
"""

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import groupby
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from interlude.models.network import Parameters
from interlude.models.packed import Layout, Packed, pack
from interlude.simulator.training.transfer import to_device
from interlude.simulator.training.values import Values

Weight = float | Tensor

_BLOCK_BYTES = 1 << 20
"""Rows summed at a time: a block that stays in the cache, small relative to the parameters of large networks."""


class Holders(NamedTuple):
    """All clients of a run that hold a group, whether they have trained it yet or not."""

    num_clients: int
    num_samples: int
    """Samples of one local round of each, summed."""


@dataclass(frozen=True, slots=True)
class ClientUpdate:
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
    holders: Mapping[str, Holders] = field(default_factory=dict)
    """Of each group, all clients that hold it."""
    message: Any = None
    """What the client told besides, of its role or its clock."""


class Holding(Protocol):
    """What an update holds, whether its values are computed or not."""

    @property
    def groups(self) -> tuple[str, ...]:
        """The groups that were trained and sent."""
        ...

    @property
    def num_samples(self) -> int:
        """Samples the client trained on, n_k."""
        ...


def weighted_mean(model: Parameters, updates: Sequence[ClientUpdate]) -> Packed:
    """Return sum_k n_k theta_k / sum_k n_k per group, over the updates that hold the group (FedAvg)."""
    return mean_in_turn(model, updates, (update.parameters for update in updates))


def mean_in_turn(model: Parameters, updates: Sequence[Holding], results: Iterable[Parameters]) -> Packed:
    """Return `weighted_mean` of results theta_k that come one after the other, none of which is kept.

    Args:
        model: theta.
        updates: what each holds.
        results: theta_k of each, in the same order.
    """
    theta = pack(model)
    sums: list[tuple[slice, RunningSum]] = []
    sums_of: list[list[tuple[slice, RunningSum]]] = [[] for _ in updates]
    for span, group in _runs(theta.layout, lambda group: holders_of(group, updates)):
        if holders := holders_of(group, updates):
            total = sum(updates[position].num_samples for position in holders)
            weights = [updates[position].num_samples / total for position in holders]
            sums.append((span, RunningSum(weights, theta.flat[span])))
            for position in holders:
                sums_of[position].append(sums[-1])
    for its_sums, parameters in zip(sums_of, results, strict=True):
        row = theta.layout.pack(parameters).flat
        for span, running in its_sums:
            running.add(row[span])
    merged = theta.flat.clone()
    for span, running in sums:
        merged[span] = running.total()
    return Packed(theta.layout, merged)


def mix(model: Parameters, update: ClientUpdate, alpha: Mapping[str, Weight]) -> Packed:
    """Return (1 - alpha_g) theta + alpha_g theta_k for each group g that the update holds (FedAsync).

    Args:
        model: theta.
        update: the update to mix in.
        alpha: mixing weight of each group, a number or a 0-d tensor.
    """
    theta, (row,) = _packed(model, [update])
    held = {group: alpha[group] for group in update.groups}
    runs = [(span, held.get(group)) for span, group in _runs(theta.layout, lambda group: _identity(held.get(group)))]
    if len(runs) == 1 and (weight := runs[0][1]) is not None:
        return Packed(theta.layout, torch.lerp(theta.flat, row.flat, _as_factor(weight, row.flat)))
    merged = theta.flat.clone()
    for span, weight in runs:
        if weight is not None:
            torch.lerp(theta.flat[span], row.flat[span], _as_factor(weight, merged), out=merged[span])
    return Packed(theta.layout, merged)


def add_deltas(
    model: Parameters, updates: Sequence[ClientUpdate], weight: Callable[[int, str], Weight], learning_rate: float
) -> Packed:
    """Return theta + learning_rate * sum_k w_kg (theta_k - theta^(v_k)) per group g (FedBuff and its relatives).

    Args:
        model: theta.
        updates: the updates of one buffer.
        weight: w_kg by the update's position in `updates` and the group; asked only for groups that the update holds.
        learning_rate: the server's step size.
    """
    theta, rows = _packed(model, updates)
    starts = [theta.layout.pack(update.start) for update in updates]
    merged = theta.flat.clone()

    for group, columns in theta.layout.group_columns.items():
        if holders := holders_of(group, updates):
            deltas = [rows[position].flat[columns] - starts[position].flat[columns] for position in holders]
            merged[columns] += learning_rate * weighted_sum(deltas, [weight(position, group) for position in holders])
    return Packed(theta.layout, merged)


def delta_of(update: ClientUpdate, layout: Layout) -> Tensor:
    """Return theta_k - theta^(v_k) [P] of the groups that an update holds; 0 elsewhere."""
    trained, start = layout.pack(update.parameters).flat, layout.pack(update.start).flat
    delta = torch.zeros_like(trained)
    for span in layout.spans(update.groups):
        torch.sub(trained[span], start[span], out=delta[span])
    return delta


class RunningSum:
    """sum_k w_k row_k of rows [P] that come one after the other: a product of weights and rows, a block at a time.

    Args:
        weights: w_k of all rows that will come, in their order.
        like: a tensor [P] of the rows' type and device.
    """

    def __init__(self, weights: Sequence[Weight], like: Tensor) -> None:
        num_rows = max(1, _BLOCK_BYTES // max(1, like.numel() * like.itemsize))
        self._weights = _as_vector(weights, like)
        self._block = like.new_empty(min(num_rows, len(weights)), like.numel())
        self._total = torch.zeros_like(like)
        self._num_added = 0
        self._num_waiting = 0

    def add(self, row: Tensor) -> None:
        """Add the next row [P]; it is not kept."""
        self._block[self._num_waiting] = row
        self._num_waiting += 1
        if self._num_waiting == len(self._block):
            self._add_block()

    def total(self) -> Tensor:
        """Return the sum [P] of the rows so far."""
        if self._num_waiting:
            self._add_block()
        return self._total

    def _add_block(self) -> None:
        added = self._num_added + self._num_waiting
        self._total.addmv_(self._block[: self._num_waiting].T, self._weights[self._num_added : added])
        self._num_added, self._num_waiting = added, 0


def weighted_sum(rows: Sequence[Tensor], weights: Sequence[Weight]) -> Tensor:
    """Return sum_k w_k row_k of rows [P], as `RunningSum` adds them up."""
    running = RunningSum(weights, rows[0])
    for row in rows:
        running.add(row)
    return running.total()


def difference(one: Parameters, other: Parameters, groups: Iterable[str]) -> Tensor:
    """Return one - other over some groups, as one vector: what methods measure updates by."""
    minuend = pack(one)
    subtrahend = minuend.layout.pack(other)
    spans = minuend.layout.spans(groups)
    return torch.cat([minuend.flat[:0], *(minuend.flat[span] - subtrahend.flat[span] for span in spans)])


def num_holders(updates: Sequence[Holding], group: str) -> int:
    """Return how many updates hold a group."""
    return sum(group in update.groups for update in updates)


def holders_of(group: str, updates: Sequence[Holding]) -> tuple[int, ...]:
    """Return the positions of the updates that hold a group."""
    return tuple(position for position, update in enumerate(updates) if group in update.groups)


def _packed(model: Parameters, updates: Sequence[ClientUpdate]) -> tuple[Packed, list[Packed]]:
    """Return the model and the updates in one layout."""
    theta = pack(model)
    return theta, [theta.layout.pack(update.parameters) for update in updates]


def _runs(layout: Layout, how: Callable[[str], Hashable]) -> Iterator[tuple[slice, str]]:
    """Yield the columns of neighbouring groups that are merged alike, and one of these groups."""
    for _, run in groupby(layout.group_columns, how):
        groups = list(run)
        yield slice(layout.group_columns[groups[0]].start, layout.group_columns[groups[-1]].stop), groups[0]


def _identity(weight: Weight | None) -> Hashable:
    """Return a key that is equal only for equal weights; reads no value back from a device."""
    return id(weight) if isinstance(weight, Tensor) else weight


def _as_factor(weight: Weight, like: Tensor) -> Weight:
    """Return a weight as a factor of tensors like one: a number, or a tensor [] where that is."""
    return to_device(weight.to(like.dtype), like.device) if isinstance(weight, Tensor) else weight


def _as_scalar(weight: Weight, like: Tensor) -> Tensor:
    """Return a weight [] where `like` is, without waiting for the device."""
    factor = _as_factor(weight, like)
    return factor if isinstance(factor, Tensor) else torch.full((), factor, dtype=like.dtype, device=like.device)


def _as_vector(weights: Sequence[Weight], like: Tensor) -> Tensor:
    """Return weights [N] where `like` is, without waiting for the device."""
    known = tuple(weight for weight in weights if not isinstance(weight, Tensor))
    if len(known) < len(weights):
        return torch.stack([_as_scalar(weight, like) for weight in weights])
    return _sent(known, like.dtype, like.device)


@lru_cache(maxsize=64)
def _sent(weights: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return weights [N] on a device; groups with the same holders have the same, which are sent once."""
    return to_device(torch.tensor(weights, dtype=dtype), device)
