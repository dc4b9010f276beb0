"""How clients share a training set: kinds of partition, their requirements, and which client holds which modalities."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, model_validator

from interlude.simulator.arrays import Indices
from interlude.simulator.counts import round_product
from interlude.simulator.data import shares
from interlude.simulator.data.dataset import Dataset
from interlude.simulator.data.directory import need_located
from interlude.simulator.data.partition_files import client_files, read_partition
from interlude.simulator.errors import BadInputError, nearest
from interlude.simulator.randomness import Stream

_MAX_TRIES = 100
_SHARED_SAMPLES = 32
"""Samples of a shard that several clients share, on average: so many times the fewest that it may have."""


class _Partition(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class IidPartition(_Partition):
    """Equal shares of a random permutation."""

    kind: Literal["iid"]


class DirichletPartition(_Partition):
    """Class by class, shares drawn from a symmetric Dirichlet distribution, as BMSFed's code does it."""

    kind: Literal["dirichlet"]
    alpha: PositiveFloat = Field(le=1e9, description="concentration: small is skewed, large is IID")
    min_samples: PositiveInt = Field(2, description="fewest samples a client may hold; drawn again until it holds")


class LabelShardsPartition(_Partition):
    """Sorted by class, cut into equal pieces, a few random ones for each client (McMahan et al., AISTATS 2017)."""

    kind: Literal["label_shards"]
    per_client: PositiveInt = Field(2, description="pieces of each client, so about the most classes it holds")


class QuantityPartition(_Partition):
    """Classes as in the whole set, numbers of samples skewed: shares are drawn without regard to the samples."""

    kind: Literal["quantity"]
    alpha: float | None = Field(None, ge=1e-3, le=1e9, description="shares from a Dirichlet of this concentration")
    sigma: float | None = Field(None, ge=0, le=10, description="shares from a log-normal of this deviation of the log")
    min_samples: PositiveInt = Field(2, description="samples that every client gets before the rest is shared out")

    @model_validator(mode="after")
    def _one_distribution(self) -> "QuantityPartition":
        if (self.alpha is None) == (self.sigma is None):
            raise ValueError("needs exactly one of 'alpha' (Dirichlet) and 'sigma' (log-normal)")
        return self


class NaturalPartition(_Partition):
    """Samples that belong together stay together: each client holds those of one value of a key, e.g. one subject's."""

    kind: Literal["natural"]
    key: str = Field(description="what samples belong to, e.g. subject; the data set says what it knows")
    group: bool = Field(
        False,
        description="share all values out among the clients, several each; false: one value each, a random choice of "
        "values where there are fewer clients",
    )
    clients_per_value: PositiveInt = Field(
        1, description="clients that share the samples of one value, at random and equally; not with 'group'"
    )

    @model_validator(mode="after")
    def _one_way(self) -> "NaturalPartition":
        if self.group and self.clients_per_value > 1:
            raise ValueError("takes 'group' (several values a client) or 'clients_per_value', not both")
        return self


class FilesPartition(_Partition):
    """From files in the layout of the papers' code: ``client-<count>-alpha-<alpha>/client-<k>.csv`` or ``.txt``."""

    kind: Literal["files"]
    path: Path = Field(
        description="the AllocatedSubset folder, absolute, below the data directory or where the command runs"
    )
    alpha: PositiveFloat = Field(description="which of its folders")
    partial: bool = Field(
        False, description="let files name samples that the data set lacks, and leave out samples that no file names"
    )


DrawnPartitionSpec = IidPartition | DirichletPartition | LabelShardsPartition | QuantityPartition | NaturalPartition

PartitionSpec = Annotated[DrawnPartitionSpec | FilesPartition, Field(discriminator="kind")]

NO_SAMPLES: Indices = np.empty(0, np.int64)


def partition(
    spec: PartitionSpec, dataset: Dataset, num_clients: int, seed: int, held_out: Indices = NO_SAMPLES
) -> Sequence[Indices]:
    """Return each client's sample indices: disjoint, sorted, at least one.

    Together they are the whole training set but for what is held out, unless a natural partition has more values than
    there are clients, or a partition by files is partial.

    Args:
        spec: the partition.
        dataset: whose training set is shared.
        num_clients: clients.
        seed: the run's seed.
        held_out: sample indices that no client gets, sorted; shares are drawn of the others.

    Raises:
        BadInputError: if the data set cannot be shared among that many clients, or no draw gives every client enough.
    """
    if dataset.drawn is not None:
        return dataset.drawn.shards(num_clients)
    check_partition(spec, dataset, num_clients, held_out)
    if isinstance(spec, FilesPartition):
        folder, num_samples = need_located(spec.path, "data.partition.path"), len(dataset.train[1])
        shards = read_partition(folder, spec.alpha, num_clients, num_samples, dataset.names, spec.partial)
        return [np.setdiff1d(shard, held_out) for shard in shards]
    left = _left(dataset, held_out)
    return [left[shard] for shard in _drawn(spec, dataset, num_clients, Stream(seed, "partition"), left)]


def _drawn(
    spec: DrawnPartitionSpec, dataset: Dataset, num_clients: int, stream: Stream, left: Indices
) -> list[Indices]:
    """Return each client's positions among the samples that are left, sorted."""
    labels = dataset.train[1].numpy()[left]
    match spec:
        case IidPartition():
            return shares.equal(len(labels), num_clients, stream.generator())
        case DirichletPartition():
            return _dirichlet(spec, labels, num_clients, stream)
        case LabelShardsPartition():
            return shares.label_shards(labels, num_clients, spec.per_client, stream.generator())
        case QuantityPartition():
            generator = stream.generator()
            drawn = (
                generator.dirichlet(np.full(num_clients, spec.alpha))
                if spec.alpha is not None
                else generator.lognormal(0.0, spec.sigma or 0.0, size=num_clients)
            )
            return shares.sized(len(labels), drawn, spec.min_samples, generator)
        case NaturalPartition():
            keys, generator = dataset.keys[spec.key][left], stream.generator()
            if spec.clients_per_value > 1:
                return shares.shared_values(keys, num_clients, spec.clients_per_value, generator)
            return shares.by_value(keys, num_clients, spec.group, generator)


def _left(dataset: Dataset, held_out: Indices) -> Indices:
    """Return the indices of the training samples that are not held out, sorted."""
    return np.setdiff1d(np.arange(len(dataset.train[1])), held_out)


def partition_files(spec: PartitionSpec, num_clients: int) -> list[Path]:
    """Return the files that a partition is read from; most kinds read none."""
    if not isinstance(spec, FilesPartition):
        return []
    return client_files(need_located(spec.path, "data.partition.path"), spec.alpha, num_clients)


def num_served(spec: PartitionSpec, dataset: Dataset, num_clients: int, held_out: Indices = NO_SAMPLES) -> int:
    """Return among how many shards a training set is partitioned where clients may share one.

    One each, unless there are more clients than the samples allow: then few enough that a shard is of some size.
    """
    if dataset.drawn is not None or isinstance(spec, NaturalPartition | FilesPartition):
        return num_clients
    num_samples, fewest = len(dataset.train[1]) - len(held_out), _fewest_samples(spec)
    if num_clients * fewest <= num_samples:
        return num_clients
    return max(1, num_samples // (_SHARED_SAMPLES * fewest))


def check_partition(spec: PartitionSpec, dataset: Dataset, num_clients: int, held_out: Indices = NO_SAMPLES) -> None:
    """Check that a training set can be partitioned among that many clients, as far as is known without a draw.

    Args:
        spec: the partition.
        dataset: whose training set is shared.
        num_clients: clients.
        held_out: sample indices that no client gets.

    Raises:
        BadInputError: naming the field, the given value and the data set's.
    """
    if dataset.drawn is not None:
        return  # as many samples as clients need
    if isinstance(spec, NaturalPartition):
        _check_natural(spec, dataset, num_clients, held_out)
        return
    fewest = _fewest_samples(spec)
    num_samples = len(dataset.train[1]) - len(held_out)
    if num_clients * fewest > num_samples:
        raise BadInputError(
            f"clients.count: {num_clients} clients with at least {fewest} samples each need "
            f"{num_clients * fewest} training samples, but the data set has {num_samples}{_beside(held_out)}"
        )


def _fewest_samples(spec: PartitionSpec) -> int:
    """Return the fewest samples that a client of such a partition holds."""
    match spec:
        case DirichletPartition() | QuantityPartition():
            return spec.min_samples
        case LabelShardsPartition():
            return spec.per_client
        case _:
            return 1


def hold_modalities(
    multimodal_fraction: float,
    modalities: Sequence[str],
    num_clients: int,
    seed: int,
    fractions: Mapping[str, float] | None = None,
) -> list[tuple[str, ...]]:
    """Return the modalities of each client.

    Either all for a random share of clients and one each, evenly, for the rest, or every modality at a random share of
    clients of its own; a client that would be left with none holds one of them at random.

    Args:
        multimodal_fraction: share of clients that hold every modality, rounded to whole clients.
        modalities: the data set's modalities.
        num_clients: clients.
        seed: the run's seed.
        fractions: share of clients that hold a modality, rounded to whole clients; 1 where it is not named.
    """
    if fractions is not None:
        return _hold_fractions(fractions, modalities, num_clients, seed)
    held = [tuple(modalities)] * num_clients
    order = Stream(seed, "modalities").generator().permutation(num_clients)
    for position, client in enumerate(order[round_product(num_clients, multimodal_fraction) :]):
        held[client] = (modalities[position % len(modalities)],)
    return held


def _hold_fractions(
    fractions: Mapping[str, float], modalities: Sequence[str], num_clients: int, seed: int
) -> list[tuple[str, ...]]:
    holders = {}
    for modality in modalities:
        order = Stream(seed, "modalities", modality).generator().permutation(num_clients)
        holders[modality] = set(order[: round_product(num_clients, fractions.get(modality, 1.0))].tolist())
    spare = [m for m in modalities if fractions.get(m, 1.0) > 0.0]
    consolation = Stream(seed, "modalities").generator().integers(len(spare), size=num_clients)
    held = [tuple(m for m in modalities if client in holders[m]) for client in range(num_clients)]
    return [some or (spare[consolation[client]],) for client, some in enumerate(held)]


def _beside(held_out: Indices) -> str:
    return f" beside the {len(held_out)} of its validation part (evaluate.validation)" if len(held_out) else ""


def _check_natural(spec: NaturalPartition, dataset: Dataset, num_clients: int, held_out: Indices) -> None:
    if spec.key not in dataset.keys:
        known = f"its keys are {', '.join(dataset.keys)}" if dataset.keys else "it has none"
        raise BadInputError(
            f"data.partition.key: unknown key '{spec.key}' of the data set; {known}{nearest(spec.key, dataset.keys)}"
        )
    per_value = np.unique(dataset.keys[spec.key][_left(dataset, held_out)], return_counts=True)[1]
    num_values, sharing = len(per_value), spec.clients_per_value
    if num_clients > num_values * sharing:
        share = f", each shared by {sharing} (data.partition.clients_per_value)" if sharing > 1 else ""
        raise BadInputError(
            f"clients.count: {num_clients} clients, but the training samples have only {num_values} values of "
            f"'{spec.key}'{share}, so that at most {num_values * sharing} clients hold one"
        )
    if per_value.min() < sharing:
        raise BadInputError(
            f"data.partition.clients_per_value: {sharing} clients cannot share the {per_value.min()} samples of one "
            f"value of '{spec.key}'{_beside(held_out)}"
        )


def _dirichlet(spec: DirichletPartition, labels: Indices, num_clients: int, stream: Stream) -> list[Indices]:
    for attempt in range(_MAX_TRIES):
        shards = shares.capped_dirichlet(spec.alpha, labels, num_clients, stream.generator(attempt))
        if min(map(len, shards)) >= spec.min_samples:
            return shards
    raise BadInputError(
        f"data.partition: no Dirichlet draw in {_MAX_TRIES} gave each of {num_clients} clients {spec.min_samples} "
        f"samples; raise alpha (given {spec.alpha}) or use fewer clients"
    )
