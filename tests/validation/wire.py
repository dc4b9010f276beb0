"""Messages over a stream: a small header at full speed, then a body of the payload's bytes, which the sender shapes."""

import asyncio
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from interlude.models.network import Network, Parameters
from interlude.simulator.training.values import Named, Values

_LENGTH_BYTES = 4
Described = Sequence[tuple[str, str, Sequence[int]]]
"""Names, modalities and shapes of values, in a header."""


def send_header(writer: asyncio.StreamWriter, header: Mapping[str, Any]) -> None:
    """Send a header."""
    text = json.dumps(header).encode()
    writer.write(len(text).to_bytes(_LENGTH_BYTES, "big") + text)


async def receive_header(reader: asyncio.StreamReader) -> dict[str, Any] | None:
    """Return the next header; None if the other side has closed the connection."""
    try:
        length = int.from_bytes(await reader.readexactly(_LENGTH_BYTES), "big")
        header: dict[str, Any] = json.loads(await reader.readexactly(length))
    except (asyncio.IncompleteReadError, ConnectionResetError):
        return None
    return header


def packed_groups(network: Network, parameters: Parameters, groups: Iterable[str]) -> bytes:
    """Return the bytes of some groups' parameters, as dense as they are counted."""
    return b"".join(_bytes(parameters[name]) for group in groups for name in network.groups[group])


def unpacked_groups(network: Network, body: bytes, groups: Iterable[str]) -> tuple[dict[str, Tensor], bytes]:
    """Return the parameters of some groups, and the rest of the body."""
    parameters: dict[str, Tensor] = {}
    for group in groups:
        for name in network.groups[group]:
            parameters[name], body = _tensor(body, tuple(network.shapes[name].shape))
    return parameters, body


def described(values: Values) -> list[tuple[str, str, list[int]]]:
    """Return what the other side needs to read values: it knows no names."""
    return [(key.name, key.modality, list(value.shape)) for key, value in values.items()]


def packed_values(values: Values) -> bytes:
    """Return the bytes of values."""
    return b"".join(_bytes(value) for value in values.values())


def unpacked_values(body: bytes, entries: Described) -> tuple[dict[Named, Tensor], bytes]:
    """Return values, and the rest of the body."""
    values: dict[Named, Tensor] = {}
    for name, modality, shape in entries:
        values[Named(name, modality)], body = _tensor(body, tuple(shape))
    return values, body


def _bytes(value: Tensor) -> bytes:
    return value.detach().to(torch.float32).contiguous().numpy().tobytes()


def _tensor(body: bytes, shape: tuple[int, ...]) -> tuple[Tensor, bytes]:
    count = int(np.prod(shape, dtype=int))
    array = np.frombuffer(body, np.float32, count).reshape(shape).copy()
    return torch.from_numpy(array), body[4 * count :]
