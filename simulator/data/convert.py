"""What a user's function returns as arrays: nothing is dropped on the way, not a mask, not an empty cell."""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from interlude.simulator.errors import BadInputError, shortened


def as_array(values: Any, what: str) -> npt.NDArray[Any]:
    """Return an array of what was given: an array, a tensor, a list, a column of a data frame.

    Texts are an array of objects, each a `str`; all else has a type of numbers.

    Args:
        values: what was given.
        what: its name in messages.

    Raises:
        BadInputError: if it cannot become an array, or only by leaving something out.
    """
    if isinstance(values, Tensor):
        return as_tensor(values, what).numpy()
    try:
        _need_unmasked(values, what)
        array = np.asarray(values)
    except BadInputError:
        raise
    except Exception as error:  # whatever an object of a user's own raises
        raise BadInputError(f"{what} cannot be made an array: {shortened(error, 120)}") from error
    if array.dtype.kind == "O" and all(isinstance(value, str) for value in array.flat):
        return array
    return array.astype(object) if array.dtype.kind in "UT" else array


def as_tensor(values: Tensor, what: str) -> Tensor:
    """Return a dense tensor on the CPU, without gradients; of 16 bits or fewer, its floats become float32.

    Raises:
        BadInputError: if it is sparse, nested, quantised, masked or has no values.
    """
    if isinstance(values, torch.masked.MaskedTensor):
        raise BadInputError(f"{what} is a masked tensor; fill what is masked, or leave those samples out")
    if values.layout != torch.strided or values.is_nested or values.is_quantized or values.is_meta:
        kind = next(
            (kind for kind in ("nested", "quantized", "meta") if getattr(values, f"is_{kind}")), str(values.layout)
        )
        raise BadInputError(f"{what} must be a dense tensor with values; it is {kind}, so give a dense one")
    try:
        plain = values.detach() if values.requires_grad else values
        plain = (plain if type(plain) is Tensor else plain.as_subclass(Tensor)).cpu().resolve_conj().resolve_neg()
        return plain.float() if plain.is_floating_point() and plain.itemsize <= 2 else plain
    except Exception as error:  # subclasses of a user's own
        raise BadInputError(f"{what} cannot be made an array: {shortened(error, 120)}") from error


def _need_unmasked(values: Any, what: str) -> None:
    """Refuse masks, which `numpy.asarray` drops: also those of the arrays in a list."""
    if isinstance(values, np.ma.MaskedArray) and np.ma.is_masked(values):
        raise BadInputError(
            f"{what} is a masked array with {np.ma.getmaskarray(values).sum()} masked values; fill them, or leave "
            "those samples out"
        )
    if isinstance(values, (list, tuple)) and values and not isinstance(values[0], (int, float, str)):
        for part in values:
            _need_unmasked(part, what)
