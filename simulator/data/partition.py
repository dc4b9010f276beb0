"""How clients share a training set: equally at random, skewed by class, or as samples naturally belong together."""

from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt

from simulator.arrays import Indices
from simulator.data.dataset import Dataset
from simulator.errors import BadInputError, nearest
from simulator.randomness import Stream

_MAX_TRIES = 100
_CAPACITY = 1.1  # a client that holds this many times the average gets no more classes


class IidPartition(BaseModel):
    """Equal shares of a random permutation."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["iid"]


class DirichletPartition(BaseModel):
    """Class by class, shares drawn from a symmetric Dirichlet distribution, as BMSFed's code does it."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    kind: Literal["dirichlet"]
    alpha: PositiveFloat = Field(le=1e9, description="concentration: small is skewed, large is IID")
    min_samples: PositiveInt = Field(2, description="fewest samples a client may hold; drawn again until it holds")


class NaturalPartition(BaseModel):
    """Samples that belong together stay together: each client holds those of one value of a key, e.g. one subject's."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["natural"]
    key: str = Field(description="what samples belong to, e.g. subject; the data set says what it knows")
    group: bool = Field(
        False,
        description="share all values out among the clients, several each; false: one value each, a random choice of "
        "values where there are fewer clients",
    )


PartitionSpec = Annotated[IidPartition | DirichletPartition | NaturalPartition, Field(discriminator="kind")]


def partition(spec: PartitionSpec, dataset: Dataset, num_clients: int, seed: int) -> list[Indices]:
    """Return each client's sample indices: disjoint and sorted.

    Together they are the whole training set, unless a natural partition has more values than there are clients.

    Args:
        spec: how to share.
        dataset: whose training set is shared.
        num_clients: clients.
        seed: the run's seed.

    Raises:
        BadInputError: if the data set cannot be shared so among so many, or no draw gives every client enough.
    """
    check_partition(spec, dataset, num_clients)
    labels = dataset.train[1].numpy()
    match spec:
        case IidPartition():
            order = Stream(seed, "partition").generator().permutation(len(labels))
            return [np.sort(shard) for shard in np.array_split(order, num_clients)]
        case DirichletPartition():
            return _dirichlet(spec, labels, num_clients, seed)
        case NaturalPartition():
            return _natural(spec, dataset.keys[spec.key], num_clients, seed)


def check_partition(spec: PartitionSpec, dataset: Dataset, num_clients: int) -> None:
    """Check that a training set can be shared so among so many clients, as far as can be told without a draw.

    Raises:
        BadInputError: naming the field, what was given and what there is.
    """
    if isinstance(spec, NaturalPartition):
        _check_natural(spec, dataset, num_clients)
        return
    fewest = spec.min_samples if isinstance(spec, DirichletPartition) else 1
    num_samples = len(dataset.train[1])
    if num_clients * fewest > num_samples:
        raise BadInputError(
            f"clients.count: {num_clients} clients with at least {fewest} samples each need "
            f"{num_clients * fewest} training samples, but the data set has {num_samples}"
        )


def _check_natural(spec: NaturalPartition, dataset: Dataset, num_clients: int) -> None:
    if spec.key not in dataset.keys:
        known = f"its keys are {', '.join(dataset.keys)}" if dataset.keys else "it has none"
        raise BadInputError(
            f"data.partition.key: unknown key '{spec.key}' of the data set; {known}{nearest(spec.key, dataset.keys)}"
        )
    num_values = len(np.unique(dataset.keys[spec.key]))
    if num_clients > num_values:
        raise BadInputError(
            f"clients.count: {num_clients} clients, but the training samples have only {num_values} values of "
            f"'{spec.key}', so that at most {num_values} clients hold one"
        )


def hold_modalities(
    multimodal_fraction: float, modalities: Sequence[str], num_clients: int, seed: int
) -> list[tuple[str, ...]]:
    """Return the modalities of each client: all for a random share of clients, one each, evenly, for the rest.

    Args:
        multimodal_fraction: share of clients that hold every modality, rounded to whole clients.
        modalities: the data set's modalities.
        num_clients: clients.
        seed: the run's seed.
    """
    held = [tuple(modalities)] * num_clients
    order = Stream(seed, "modalities").generator().permutation(num_clients)
    for position, client in enumerate(order[round(multimodal_fraction * num_clients) :]):
        held[client] = (modalities[position % len(modalities)],)
    return held


def _dirichlet(spec: DirichletPartition, labels: Indices, num_clients: int, seed: int) -> list[Indices]:
    for attempt in range(_MAX_TRIES):
        generator = Stream(seed, "partition").generator(attempt)
        shards = _capped_dirichlet(spec.alpha, labels, num_clients, generator)
        if min(map(len, shards)) >= spec.min_samples:
            return shards
    raise BadInputError(
        f"data.partition: no Dirichlet draw in {_MAX_TRIES} gave each of {num_clients} clients {spec.min_samples} "
        f"samples; raise alpha (given {spec.alpha}) or use fewer clients"
    )


def _natural(spec: NaturalPartition, keys: Indices, num_clients: int, seed: int) -> list[Indices]:
    """Share values out; one value each in the order of values, so that with all of them no seed matters."""
    values = np.unique(keys)
    order = Stream(seed, "partition").generator().permutation(len(values))
    parts = np.array_split(order, num_clients) if spec.group else np.sort(order[:num_clients])[:, None]
    return [np.flatnonzero(np.isin(keys, values[part])) for part in parts]


def _capped_dirichlet(alpha: float, labels: Indices, num_clients: int, generator: np.random.Generator) -> list[Indices]:
    """Share each class by p ~ Dir(alpha), p = 0 for clients that already hold 1.1 times the average."""
    shares: list[list[Indices]] = [[] for _ in range(num_clients)]
    held = np.zeros(num_clients)
    for label in np.unique(labels):
        members = generator.permutation(np.flatnonzero(labels == label))
        share = generator.dirichlet(np.full(num_clients, alpha))
        open_share = np.where(held < _CAPACITY * len(labels) / num_clients, share, 0.0)
        share = open_share if open_share.sum() > 0.0 else share
        cuts = np.round(np.cumsum(share / share.sum()) * len(members)).astype(int)[:-1]
        for client, part in enumerate(np.split(members, cuts)):
            shares[client].append(part)
            held[client] += len(part)
    return [np.sort(np.concatenate(parts)) for parts in shares]
