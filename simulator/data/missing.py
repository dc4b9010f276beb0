"""Training samples that lack single modalities, drawn at a rate for each.

Every sample lacks a modality with its rate, whatever else it lacks. Test samples have all. What a network makes of a
sample that lacks a modality is zeros in place of the features.
"""

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from interlude.models.inputs import InputSpec, Reader
from interlude.simulator.data.dataset import Dataset
from interlude.simulator.errors import CannotRunError, nearest
from interlude.simulator.randomness import Stream

_CHUNK_SAMPLES = 4096


def with_missing(dataset: Dataset, rates: Mapping[str, float], seed: int, memory_bytes: float) -> Dataset:
    """Return a data set whose training samples lack modalities; those of a modality with a rate are copied.

    Args:
        dataset: whose samples have them.
        rates: the share of training samples that lack a modality, by its name.
        seed: of the draw.
        memory_bytes: the most that the copies may take.

    Raises:
        CannotRunError: if there is no such modality, samples are drawn client by client, or copies take too much.
    """
    for modality in rates:
        if modality not in dataset.modalities:
            raise CannotRunError(
                f"data.missing: unknown modality '{modality}'; the data set's modalities are "
                f"{', '.join(dataset.modalities)}{nearest(modality, dataset.modalities)}"
            )
    rates = {modality: rate for modality, rate in rates.items() if rate > 0.0}
    if rates and dataset.drawn is not None:
        raise CannotRunError("data.missing: this data set draws samples client by client, and all of them are whole")
    needed = sum(4 * inputs[m].numel() for inputs, _ in (dataset.train, dataset.test) for m in rates)
    if needed > memory_bytes:
        raise CannotRunError(
            f"limits.memory_gb: data.missing copies the samples of {', '.join(rates)}, which takes about "
            f"{needed / 1e9:.3g} GB, but at most {memory_bytes / 1e9:.3g} GB are allowed; raise the limit"
        )
    (train, labels), (test, test_labels) = dataset.train, dataset.test
    stored, train, test = dict(dataset.stored), dict(train), dict(test)
    for modality, rate in rates.items():
        spec = dataset.inputs[modality]
        lacks = torch.from_numpy(Stream(seed, "missing", modality).uniforms(len(labels)) < rate)
        train[modality], test[modality] = _floats(train[modality], spec), _floats(test[modality], spec)
        train[modality][lacks] = 0 if spec.num_tokens is not None else torch.nan
        stored[modality] = replace(spec, mean=None, std=None, may_lack=True)
    return replace(dataset, train=(train, labels), test=(test, test_labels), stored=stored)


def _floats(x: Tensor, spec: InputSpec) -> Tensor:
    """Return a copy of samples, bytes as the standardised floats that a network reads."""
    read = Reader(spec)
    return torch.cat([read(x[first : first + _CHUNK_SAMPLES]).clone() for first in range(0, len(x), _CHUNK_SAMPLES)])
