"""A list of samples, read from a user's files, becomes a data set: classes numbered, split, standardised, tokenised."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from pydantic import Field

from interlude.simulator.arrays import Indices
from interlude.simulator.data.dataset import Dataset
from interlude.simulator.data.own import KEY, LABEL, NAME, dataset_of
from interlude.simulator.data.spec import DrawnSpec
from interlude.simulator.data.text import Vocabulary
from interlude.simulator.errors import BadInputError
from interlude.simulator.formats.csv_files import whole_number

TEST_FRACTION = 0.25

ImageSize = Annotated[int, Field(ge=4, le=1024, description="pixels a side; images are padded to a square and resized")]


class ListedSpec(DrawnSpec):
    """Options of data sets that are lists of samples."""

    test_fraction: float = Field(
        TEST_FRACTION,
        gt=0,
        lt=1,
        description="share of every class that is drawn for the test, where no split is given",
    )
    standardise: bool = Field(
        True, description="shift and scale numbers, per column or channel, to mean 0 and deviation 1 in training"
    )
    num_words: int = Field(
        5_000, ge=1, le=1_000_000, description="most words of texts that get a number, the most frequent in training"
    )
    num_tokens: int = Field(32, ge=1, le=4_096, description="words of a text that are read")


@dataclass(frozen=True)
class Listed:
    """Samples in the order of their list."""

    values: Mapping[str, npt.NDArray[Any] | list[str]]
    """By modality: floats or bytes [N, ...], or N texts."""
    labels: Sequence[str | int]
    """[N] names or numbers of classes."""
    is_test: Sequence[bool] | None = None
    """[N] which samples are the test; None: to be drawn."""
    keys: Mapping[str, Sequence[str | int]] = field(default_factory=dict)
    """[N] what samples belong to, by the name of the key."""
    names: Sequence[str] | None = None
    """[N] names of the samples."""


def dataset_from(listed: Listed, spec: ListedSpec, called: str, files: tuple[Path, ...], num_dropped: int) -> Dataset:
    """Return the data set that a list of samples describes.

    Args:
        listed: the samples.
        spec: how they are split and prepared.
        called: name of the list in messages.
        files: files that identify this version of the data set.
        num_dropped: samples that were left out.

    Raises:
        BadInputError: if there are no samples, or none for training or the test.
    """
    if not listed.labels:
        raise BadInputError(f"{called}: has no samples")
    labels = class_numbers(listed.labels)
    if listed.is_test is None:
        test = drawn_test(labels, spec.test_fraction, spec.stream("split").generator())
    else:
        test = np.flatnonzero(listed.is_test)
    train = np.setdiff1d(np.arange(len(labels)), test)
    for name, part in (("training", train), ("test", test)):
        if not len(part):
            raise BadInputError(f"{called}: has no {name} samples")
    values = {modality: _prepared(given, train, spec) for modality, given in listed.values.items()}
    shared = {KEY + key: np.array([str(value) for value in given]) for key, given in listed.keys.items()}
    shared |= {} if listed.names is None else {NAME: np.array(listed.names)}
    splits = [
        {name: array[part] for name, array in {**values, LABEL: labels, **shared}.items()} for part in (train, test)
    ]
    both = (f"{called}, training", f"{called}, test")
    dataset = dataset_of(splits[0], splits[1], both, int(labels.max()) + 1, files)
    return replace(dataset, num_dropped=num_dropped)


def class_numbers(labels: Sequence[str | int]) -> Indices:
    """Return [N] class numbers from 0 on: of numbers in their order, of names in alphabetical order."""
    different = set(map(str, labels))
    numbers = {text: whole_number(text) for text in different}
    are_names = None in numbers.values()
    ranked = sorted(different, key=lambda text: (0 if are_names else numbers[text] or 0, text))
    places = {text: place for place, text in enumerate(ranked)}
    return np.array([places[str(label)] for label in labels], dtype=np.int64)


def drawn_test(labels: Indices, fraction: float, generator: np.random.Generator) -> Indices:
    """Return the indices of a random test set, sorted: this share of every class, one of each left for training."""
    test: list[int] = []
    for label in np.unique(labels):
        members = generator.permutation(np.flatnonzero(labels == label))
        test += members[: min(round(fraction * len(members)), len(members) - 1)].tolist()
    return np.sort(np.array(test, dtype=np.int64))


def _prepared(given: npt.NDArray[Any] | list[str], train: Indices, spec: ListedSpec) -> npt.NDArray[Any]:
    """Return what the network reads of a modality, by the training samples alone."""
    if isinstance(given, list):
        words = Vocabulary.learn((given[i] for i in train), spec.num_words)
        return np.stack([words.encode(text, spec.num_tokens) for text in given])
    if given.dtype.kind != "f" or not spec.standardise:
        return given
    axes = tuple(axis for axis in range(given.ndim) if axis != 1)
    there = given[train]
    whole = there[~np.isnan(there.reshape(len(there), -1)).any(axis=1)]  # without samples that lack the modality
    if not len(whole):
        return given
    mean = whole.mean(axis=axes, keepdims=True, dtype=np.float64)
    deviation = whole.std(axis=axes, keepdims=True, dtype=np.float64)
    deviation[deviation == 0.0] = 1.0  # a column that never changes says nothing
    standardised: npt.NDArray[Any] = ((given - mean) / deviation).astype(np.float32)
    return standardised
