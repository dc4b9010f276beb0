"""Encoders and fusion heads of a user's own, named as ``package.module:name`` in the ``model`` section.

    @interlude.encoder
    class Camera(nn.Module):
        def __init__(self, given: interlude.InputSpec, width: int, depth: int = 2): ...
        def forward(self, x): ...               # [B, *given.shape] -> [B, width]

    @interlude.fusion
    class Gated(nn.Module):
        def __init__(self, modalities: Sequence[str], width: int, num_classes: int): ...
        def forward(self, features): ...        # mapping of the given modalities to [B, width] -> [B, num_classes]

A declared function that returns such a module does, too. Options follow by name. The parameters are the whole model: a
module has no buffers, draws no random numbers, and its parameters get their first values by their names and shapes, as
`interlude.models.network.Network.initial_parameters` says. Parts of a fusion head that are called like a modality are
that modality's, as in `interlude.models.fusion`; all modalities share the others.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn

from interlude.models.inputs import InputSpec, Reader
from interlude.models.spec import OwnModule
from interlude.simulator.errors import BadInputError, CannotRunError, UserCodeError
from interlude.simulator.own_code.errors import blaming
from interlude.simulator.own_code.foreign import Kind, needs_declaration

_EXAMPLES = 2  # samples of the batch that a module is tried on


def own_encoder(own: OwnModule, given: InputSpec, width: int) -> nn.Module:
    """Return a user's encoder, tried on the meta device: [B, *given.shape] -> [B, width].

    Raises:
        CannotRunError: if it is not declared, or no encoder.
        UserCodeError: if it raises an error, with the line.
    """
    where = f"model.encoder '{own.name}'"
    module = _built(own, "encoder", where, given, width)
    with blaming(where), _nowhere_else():
        features = module(Reader(given)(given.example(_EXAMPLES)))
    _check_shape(features, (_EXAMPLES, width), f"{where}: of samples {list(given.shape)} it returned", "[B, width]")
    return module


def own_fusion(own: OwnModule, modalities: Sequence[str], width: int, num_classes: int) -> nn.Module:
    """Return a user's fusion head, tried on the meta device with all modalities and with each alone.

    Raises:
        CannotRunError: if it is not declared, or no fusion head.
        UserCodeError: if it raises an error, with the line.
    """
    where = f"model.fusion '{own.name}'"
    module = _built(own, "fusion", where, tuple(modalities), width, num_classes)
    features = InputSpec((width,)).example(_EXAMPLES)
    for some in (modalities, *((modality,) for modality in modalities)):
        with blaming(where), _nowhere_else():
            logits = module(dict.fromkeys(some, features))
        said = f"{where}: of the features of {'+'.join(some)} it returned"
        _check_shape(logits, (_EXAMPLES, num_classes), said, "[B, classes]")
    return module


def _built(own: OwnModule, kind: Kind, where: str, *given: Any) -> nn.Module:
    try:
        build = needs_declaration(own.name, kind)
    except UserCodeError:
        raise
    except BadInputError as error:
        raise CannotRunError(f"model.{kind}: {error}") from error
    with blaming(where):
        module = build(*given, **own.options)
    if not isinstance(module, nn.Module):
        raise CannotRunError(f"{where}: must be or return a torch.nn.Module; it is a {type(module).__name__}")
    why_not = _why_not(module)
    if why_not is not None:
        raise CannotRunError(f"{where}: {why_not}")
    return module


def _nowhere_else() -> AbstractContextManager[object]:
    """Return the context in which a tensor that a module makes without ``device=x.device`` is noticed."""
    return torch.device("cpu")


def _why_not(module: nn.Module) -> str | None:
    """Return why a module's parameters are not all that it is; None if they are."""
    buffer = next((name for name, _ in module.named_buffers()), None)
    if buffer is not None:
        return (
            f"has a buffer, '{buffer}', but parameters are the whole model: use a GroupNorm, or "
            "track_running_stats=False; make a constant in forward"
        )
    names = [name for name, _ in module.named_parameters(remove_duplicate=False)]
    if len(names) > len(list(module.parameters())):
        return "uses one parameter under two names; give each a parameter of its own"
    for name, part in module.named_modules():
        if isinstance(part, nn.modules.dropout._DropoutNd) and part.p > 0.0:
            return f"has a dropout, '{name}', whose random numbers no seed of the run decides; leave it out"
    return None


def _check_shape(given: object, wanted: tuple[int, int], said: str, meaning: str) -> None:
    if not isinstance(given, Tensor):
        raise CannotRunError(f"{said} a {type(given).__name__}, not a tensor {meaning}")
    if tuple(given.shape) != wanted or not given.is_floating_point():
        raise CannotRunError(
            f"{said} {given.dtype} {list(given.shape)}, but must return floats {meaning}, here {list(wanted)}"
        )
