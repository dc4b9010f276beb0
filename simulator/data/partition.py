"""How clients share a training set: equally at random, or skewed by class."""

from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt

from simulator.arrays import Indices
from simulator.errors import BadInputError
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


PartitionSpec = Annotated[IidPartition | DirichletPartition, Field(discriminator="kind")]


def partition(spec: IidPartition | DirichletPartition, labels: Indices, num_clients: int, seed: int) -> list[Indices]:
    """Return each client's sample indices: disjoint, together the whole set, sorted.

    Args:
        spec: how to share.
        labels: [N] classes of the training set.
        num_clients: clients.
        seed: the run's seed.

    Raises:
        BadInputError: if there are fewer samples than the clients need, or no draw gives every client enough.
    """
    num_samples = len(labels)
    fewest = check_size(spec, num_samples, num_clients)
    if isinstance(spec, IidPartition):
        order = Stream(seed, "partition").generator().permutation(num_samples)
        return [np.sort(shard) for shard in np.array_split(order, num_clients)]
    for attempt in range(_MAX_TRIES):
        generator = Stream(seed, "partition").generator(attempt)
        shards = _capped_dirichlet(spec.alpha, labels, num_clients, generator)
        if min(map(len, shards)) >= fewest:
            return shards
    raise BadInputError(
        f"data.partition: no Dirichlet draw in {_MAX_TRIES} gave each of {num_clients} clients {fewest} samples; "
        f"raise alpha (given {spec.alpha}) or use fewer clients"
    )


def check_size(spec: IidPartition | DirichletPartition, num_samples: int, num_clients: int) -> int:
    """Return the fewest samples a client must hold.

    Raises:
        BadInputError: if there are fewer samples than the clients need.
    """
    fewest = spec.min_samples if isinstance(spec, DirichletPartition) else 1
    if num_clients * fewest > num_samples:
        raise BadInputError(
            f"clients.count: {num_clients} clients with at least {fewest} samples each need "
            f"{num_clients * fewest} training samples, but the data set has {num_samples}"
        )
    return fewest


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
