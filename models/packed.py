"""Parameters in one flat vector, so that many clients' parameters are rows of one bank.

Groups are contiguous, in the order of the network, so that a merge is one operation per group or run of groups.
Matrices [out, in] are stored transposed and convolution kernels [out, in, h, w] with channels last: a training step
reads them and writes their gradients so, without a copy; and a convolution with such a kernel runs channels last.
"""

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache

import torch
from torch import Tensor

from interlude.models.groups import group_of

_ALIGNMENT = 16
"""Rows are whole cache lines, so that sums are grouped in the same way in every row."""


class Layout:
    """The position of each parameter in a flat vector.

    Args:
        shapes: shape of each parameter, by name.
        dtype: type of them all.
    """

    def __init__(self, shapes: tuple[tuple[str, torch.Size], ...], dtype: torch.dtype) -> None:
        self.dtype = dtype
        by_group: dict[str, list[tuple[str, torch.Size]]] = {}
        for name, shape in shapes:
            by_group.setdefault(group_of(name), []).append((name, shape))
        self.shapes: dict[str, torch.Size] = {}
        self.columns: dict[str, slice] = {}
        """Columns of each parameter, in order."""
        self.group_columns: dict[str, slice] = {}
        """Columns of each group, in order."""
        end = 0
        for group, members in by_group.items():
            start = end
            for name, shape in members:
                self.shapes[name] = shape
                self.columns[name] = slice(end, end := end + shape.numel())
            self.group_columns[group] = slice(start, end)
        self.size = -(-end // _ALIGNMENT) * _ALIGNMENT
        """Length of a vector; its last few values may be padding."""

    def spans(self, groups: Iterable[str]) -> tuple[slice, ...]:
        """Return the columns of some groups, neighbours joined."""
        wanted = set(groups)
        return _joined(columns for group, columns in self.group_columns.items() if group in wanted)

    def spans_of(self, names: Iterable[str]) -> tuple[slice, ...]:
        """Return the columns of some parameters, neighbours joined."""
        wanted = set(names)
        return _joined(columns for name, columns in self.columns.items() if name in wanted)

    def names_in(self, span: slice) -> list[str]:
        """Return the parameters of a span, in order."""
        return [name for name, at in self.columns.items() if span.start <= at.start and at.stop <= span.stop]

    def shaped(self, flat: Tensor, name: str) -> Tensor:
        """Return a parameter's values [..., numel] in its shape [..., *shape]: a view."""
        shape = self.shapes[name]
        lead = flat.shape[:-1]
        if len(shape) == 2:
            return flat.view(*lead, shape[1], shape[0]).transpose(-1, -2)
        if len(shape) == 4:
            return flat.view(*lead, shape[0], shape[2], shape[3], shape[1]).movedim(-1, -3)
        return flat.view(*lead, *shape)

    def flattened(self, value: Tensor, name: str) -> Tensor:
        """Return a parameter [..., *shape] in the vector's order [..., numel]."""
        num_dims = len(self.shapes[name])
        if num_dims == 2:
            value = value.transpose(-1, -2)
        elif num_dims == 4:
            value = value.movedim(-3, -1)
        return value.reshape(*value.shape[: value.dim() - num_dims], -1)

    def pack(self, parameters: Mapping[str, Tensor]) -> "Packed":
        """Return parameters in this layout; unchanged if they are already."""
        if isinstance(parameters, Packed) and parameters.layout is self:
            return parameters
        parts = [self.flattened(parameters[name], name) for name in self.columns]
        padding = self.size - sum(len(part) for part in parts)
        return Packed(self, torch.cat([*parts, parts[0].new_zeros(padding)]))


def _joined(in_order: Iterable[slice]) -> tuple[slice, ...]:
    """Return columns with neighbours joined."""
    spans: list[slice] = []
    for columns in in_order:
        if spans and spans[-1].stop == columns.start:
            spans[-1] = slice(spans[-1].start, columns.stop)
        else:
            spans.append(columns)
    return tuple(spans)


class Packed(Mapping[str, Tensor]):
    """Parameters by name, all of which are views of one flat vector.

    Args:
        layout: their positions.
        flat: [P].
    """

    __slots__ = ("_views", "flat", "layout")

    def __init__(self, layout: Layout, flat: Tensor) -> None:
        self.layout = layout
        self.flat = flat
        self._views: dict[str, Tensor] = {}

    def __getitem__(self, name: str) -> Tensor:
        view = self._views.get(name)
        if view is None:
            view = self._views[name] = self.layout.shaped(self.flat[self.layout.columns[name]], name)
        return view

    def __iter__(self) -> Iterator[str]:
        return iter(self.layout.columns)

    def __len__(self) -> int:
        return len(self.layout.columns)


def pack(parameters: Mapping[str, Tensor]) -> Packed:
    """Return the parameters in one vector; unchanged if they are already."""
    if isinstance(parameters, Packed):
        return parameters
    first = next(iter(parameters.values()))
    return layout_of(tuple((name, value.shape) for name, value in parameters.items()), first.dtype).pack(parameters)


@lru_cache(maxsize=64)
def layout_of(shapes: tuple[tuple[str, torch.Size], ...], dtype: torch.dtype) -> Layout:
    """Return the layout of parameters with these names and shapes."""
    return Layout(shapes, dtype)
