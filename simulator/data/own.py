"""A user's own data: named arrays are validated and become a data set.

A split is a mapping of names to arrays of equal length N: every modality by its name, ``label`` [N] integers from 0 on,
and optionally ``key_<name>`` [N] (what samples belong to, for natural partitions) and ``name`` [N] (for partitions by
files). A modality's array is [N, *shape], channels first where there are any:

* floats are used as they are, as float32; a sample that is NaN throughout lacks the modality;
* unsigned bytes stay bytes, and the network standardises them per channel, by the training set's mean and deviation;
* other integers are token numbers [N, L], 0 for padding; the vocabulary ends at the largest.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from interlude.models.inputs import InputSpec, lacking
from interlude.simulator.arrays import Indices
from interlude.simulator.data.convert import as_array, as_tensor
from interlude.simulator.data.dataset import Dataset
from interlude.simulator.data.spec import MAX_CLASSES
from interlude.simulator.errors import BadInputError, shortened, shown

Split = Mapping[str, Any]
"""Arrays or tensors by name."""

LABEL, NAME, KEY = "label", "name", "key_"
MODALITY = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
"""What a modality may be called."""
TAKEN_NAMES = ("fused", "bias")  # names of results of all modalities together, and of what a head adds to them
_CHUNK_SAMPLES = 4096
_CHUNK_VALUES = 1 << 23
_SMALLEST_DEVIATION = 1.0 / 255.0  # of a channel that never changes


def dataset_of(
    train: Split, test: Split, where: tuple[str, str], num_classes: int | None = None, files: tuple[Path, ...] = ()
) -> Dataset:
    """Return the data set of two splits of named arrays.

    Args:
        train: arrays of the training samples.
        test: arrays of the test samples.
        where: names of the two splits in messages, e.g. their files.
        num_classes: classes; None: as many as the largest label says.
        files: files that identify this version of the data set.

    Raises:
        BadInputError: one sentence that names the split, the array, what it is and what it must be.
    """
    modalities = _modalities(train, where[0])
    _same_modalities(modalities, _modalities(test, where[1]), where)
    labels = [_labels(split, place, num_classes) for split, place in zip((train, test), where, strict=True)]
    inputs = [
        {m: _tensor(split[m], m, place, len(own)) for m in modalities}
        for split, place, own in zip((train, test), where, labels, strict=True)
    ]
    dataset = Dataset(
        train=(inputs[0], labels[0]),
        test=(inputs[1], labels[1]),
        num_classes=num_classes or int(max(own.max() for own in labels)) + 1,
        stored={m: spec for m in modalities if (spec := _stored(inputs[0][m], inputs[1][m])) is not None},
        keys={
            name.removeprefix(KEY): _key(values, f"{where[0]}: {shown(name)}", len(labels[0]))
            for name, values in train.items()
            if name.startswith(KEY)
        },
        names=_names(train, where[0], len(labels[0])),
        files=files,
    )
    return checked(dataset, where)


def checked(dataset: Dataset, where: tuple[str, str]) -> Dataset:
    """Return a data set once it is validated.

    Raises:
        BadInputError: one sentence that names the split, the array, what it is and what it must be.
    """
    if type(dataset.num_classes) is not int or not 1 <= dataset.num_classes <= MAX_CLASSES:
        raise BadInputError(f"{where[0]}: num_classes must be from 1 to {MAX_CLASSES}; it is {dataset.num_classes}")
    for split, place in zip((dataset.train, dataset.test), where, strict=True):
        _check_types(split, place)
    _same_modalities(tuple(dataset.train[0]), tuple(dataset.test[0]), where)
    for (inputs, labels), place in zip((dataset.train, dataset.test), where, strict=True):
        _check_labels(labels.numpy(), place, dataset.num_classes)
        for modality, x in inputs.items():
            _check_samples(x, modality, place, len(labels), dataset)
            if dataset.inputs[modality].may_lack and bool(lacking(x).all()):
                raise BadInputError(f"{place}: no sample has '{modality}': all of its values are NaN")
    for key, values in dataset.keys.items():
        _one_each(values, f"{where[0]}: {shown(f'{KEY}{key}')}", len(dataset.train[1]))
    if dataset.names is not None:
        _one_each(dataset.names, f"{where[0]}: '{NAME}'", len(dataset.train[1]))
    return dataset


def _check_types(split: Any, where: str) -> None:
    """Check that a split is what `Samples` says: a data set of a user's own may hold anything."""
    if not (isinstance(split, tuple) and len(split) == 2 and isinstance(split[0], Mapping) and split[0]):
        raise BadInputError(f"{where}: must be a mapping of modalities to tensors, and a tensor of labels")
    for name, x in (*split[0].items(), (LABEL, split[1])):
        _check_name(name, where)
        what = f"{where}: '{name}'"
        if not isinstance(x, Tensor) or as_tensor(x, what).dtype != x.dtype:
            raise BadInputError(f"{what} must be a tensor of float32, uint8, int32 or, as labels, int64")
    if split[1].dtype != torch.int64:
        raise BadInputError(f"{where}: '{LABEL}' must be integers (int64); it is {split[1].dtype}")


def _modalities(split: Split, where: str) -> tuple[str, ...]:
    if LABEL not in split:
        raise BadInputError(f"{where}: has no '{LABEL}'; it has {_listed(split)}")
    found = tuple(name for name in split if name not in (LABEL, NAME) and not name.startswith(KEY))
    if not found:
        raise BadInputError(f"{where}: has no modality beside {_listed(split)}")
    for name in found:
        _check_name(name, where)
    return found


def _listed(names: Iterable[str]) -> str:
    return shortened(", ".join(map(str, names)), 120) or "nothing"


def _same_modalities(train: tuple[str, ...], test: tuple[str, ...], where: tuple[str, str]) -> None:
    for here, there, place, other in ((train, test, *reversed(where)), (test, train, *where)):
        for modality in here:
            if modality not in there:
                raise BadInputError(
                    f"{place}: has no modality '{modality}', which {other} has; it has {_listed(there)}"
                )


def _check_name(modality: Any, where: str) -> None:
    if not (isinstance(modality, str) and MODALITY.fullmatch(modality)) or modality in TAKEN_NAMES:
        raise BadInputError(
            f"{where}: {shown(modality)} cannot be a modality's name: it needs letters, digits, _ and -, a letter "
            f"first, at most 64 of them, and must not be {', '.join(TAKEN_NAMES)}"
        )


def _labels(split: Split, where: str, num_classes: int | None) -> Tensor:
    values = as_array(split[LABEL], f"{where}: '{LABEL}'")
    if values.dtype.kind not in "iu":
        raise BadInputError(f"{where}: '{LABEL}' must be integers; it is {values.dtype}")
    _check_labels(values, where, num_classes)
    return torch.from_numpy(values.astype(np.int64))


def _check_labels(labels: npt.NDArray[Any], where: str, num_classes: int | None) -> None:
    """Check integers of any width, before they are made narrower or counted."""
    if labels.ndim != 1:
        raise BadInputError(f"{where}: '{LABEL}' must have one number per sample; its shape is {labels.shape}")
    if len(labels) == 0:
        raise BadInputError(f"{where}: has no samples")
    is_wrong = (labels < 0) | (labels >= (num_classes or MAX_CLASSES))
    if is_wrong.any():
        first = int(is_wrong.argmax())
        upper = "on" if num_classes is None and labels[first] < 0 else f"to {(num_classes or MAX_CLASSES) - 1}"
        raise BadInputError(
            f"{where}: '{LABEL}' must be integers from 0 {upper}; that of sample {first} is {labels[first]}"
        )


def need_length(length: int, what: str, num_samples: int) -> None:
    """Check the length of an array.

    Raises:
        BadInputError: if it is not the number of labels.
    """
    if length != num_samples:
        raise BadInputError(f"{what} has {length} samples, but there are {num_samples} labels")


def _check_samples(x: Tensor, modality: str, where: str, num_samples: int, dataset: Dataset) -> None:
    what = f"{where}: '{modality}'"
    if x.dim() < 2:
        raise BadInputError(f"{what} must be [samples, ...]; its shape is {tuple(x.shape)}")
    need_length(len(x), what, num_samples)
    spec = dataset.inputs[modality]
    if spec.num_tokens is not None and x.dim() != 2:
        raise BadInputError(
            f"{what} is {x.dtype} of shape {tuple(x.shape)}, but integers are token numbers [samples, length]; store "
            "pixels as unsigned bytes (uint8), measurements as floats"
        )
    if tuple(x.shape[1:]) != spec.shape or 0 in spec.shape:
        trained = "" if 0 in spec.shape else f", but in training it is {spec.shape}"
        raise BadInputError(f"{what}: a sample's shape is {tuple(x.shape[1:])}{trained}")
    if x.dtype != spec.dtype:
        raise BadInputError(f"{what} is {x.dtype}, but must be {spec.dtype}, as its samples are stored")
    first = 0
    for samples in _chunks(x):
        chunk = samples.flatten(1)
        if spec.num_tokens is not None:
            is_wrong = ((chunk < 0) | (chunk >= spec.num_tokens)).any(dim=1)
            said = f"has token numbers outside 0 to {spec.num_tokens - 1}"
        elif chunk.is_floating_point():
            is_wrong, said = ~(chunk.isfinite().all(dim=1) | _is_lacking(chunk, spec)), "has values that are not finite"
        else:
            return
        if bool(is_wrong.any()):
            raise BadInputError(f"{what}: sample {first + int(is_wrong.nonzero()[0, 0])} {said}")
        first += len(samples)


def _is_lacking(samples: Tensor, spec: InputSpec) -> Tensor:
    """Return which samples are NaN throughout, where that is what they may be."""
    return samples.isnan().all(dim=1) if spec.may_lack else torch.zeros(len(samples), dtype=torch.bool)


def _chunks(x: Tensor) -> Iterator[Tensor]:
    """Yield samples a few at a time: copies in other types of a whole mapped file may not fit in memory."""
    num_samples = max(1, min(_CHUNK_SAMPLES, _CHUNK_VALUES // max(1, x[:1].numel())))
    for first in range(0, len(x), num_samples):
        yield x[first : first + num_samples]


def _tensor(values: Any, modality: str, where: str, num_samples: int) -> Tensor:
    """Return samples in a stored type, float32, bytes or int32; the same tensor where it has that type already."""
    what = f"{where}: '{modality}'"
    if isinstance(values, Tensor):
        dense = as_tensor(values, what)
        if dense.dtype in (torch.float32, torch.uint8, torch.int32):
            return dense
    array = as_array(values, what)
    if array.dtype.kind not in "fiu":
        raise BadInputError(f"{what} must be floats, bytes or integers; it is {array.dtype}")
    need_length(len(array) if array.ndim else 0, what, num_samples)
    stored = np.float32 if array.dtype.kind == "f" else np.uint8 if array.dtype == np.uint8 else np.int32
    if stored == np.int32 and array.size and (array.min() < 0 or array.max() >= np.iinfo(np.int32).max):
        raise BadInputError(f"{what}: token numbers must be from 0 to {np.iinfo(np.int32).max - 1}")
    with np.errstate(over="ignore"):  # overflow gives non-finite values, which are refused later
        return torch.from_numpy(np.array(array, dtype=stored, order="C"))


def _stored(train: Tensor, test: Tensor) -> InputSpec | None:
    """Return the storage of a modality that is not plain floats."""
    shape = tuple(train.shape[1:])
    if train.dtype == torch.int32:
        return InputSpec(shape, num_tokens=max(0, *(int(x.max()) for x in (train, test) if x.numel())) + 1)
    if train.is_floating_point() and train.dim() >= 2 and (_some_lack(train) or _some_lack(test)):
        return InputSpec(shape, may_lack=True)
    if train.dtype != torch.uint8 or train.dim() < 2 or not train.numel():
        return None
    sums, squares = torch.zeros(shape[0], dtype=torch.float64), torch.zeros(shape[0], dtype=torch.float64)
    for samples in _chunks(train):
        chunk = samples.transpose(0, 1).flatten(1).double() / 255.0  # [C, ...]
        sums, squares = sums + chunk.sum(dim=1), squares + chunk.square().sum(dim=1)
    count = train.numel() / shape[0]
    mean = sums / count
    std = (squares / count - mean.square()).clamp(min=0.0).sqrt().clamp(min=_SMALLEST_DEVIATION)
    return InputSpec(shape, mean=tuple(mean.tolist()), std=tuple(std.tolist()))


def _some_lack(x: Tensor) -> bool:
    return any(bool(chunk.flatten(1).isnan().all(dim=1).any()) for chunk in _chunks(x) if chunk.numel())


def _key(values: Any, what: str, num_samples: int) -> Indices:
    """Return what each training sample belongs to as numbers: integers as they are, texts in alphabetical order."""
    array = _one_each(values, what, num_samples)
    fits = array.dtype.kind == "i" or (array.dtype.kind == "u" and array.max() <= np.iinfo(np.int64).max)
    return array.astype(np.int64) if fits else np.unique(array, return_inverse=True)[1]


def _names(train: Split, where: str, num_samples: int) -> tuple[str, ...] | None:
    if NAME not in train:
        return None
    return tuple(map(str, _one_each(train[NAME], f"{where}: '{NAME}'", num_samples).tolist()))


def _one_each(values: Any, what: str, num_samples: int) -> npt.NDArray[Any]:
    """Return one integer or text for each sample."""
    array = as_array(values, what)
    is_text = array.dtype.kind == "O" and all(isinstance(value, str) for value in array.flat)
    if array.ndim != 1 or not (is_text or array.dtype.kind in "iu"):
        raise BadInputError(f"{what} must have one integer or text per sample; it is {array.dtype} of {array.shape}")
    need_length(len(array), what, num_samples)
    return array
