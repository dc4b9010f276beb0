"""The draws behind partitions: each returns every client's sample indices, disjoint and sorted."""

import numpy as np

from interlude.simulator.arrays import Floats, Indices

_CAPACITY = 1.1  # a client that holds this many times the average gets no more classes


def equal(num_samples: int, num_clients: int, generator: np.random.Generator) -> list[Indices]:
    """Return shares of a random permutation that differ by one sample at most."""
    return [np.sort(shard) for shard in np.array_split(generator.permutation(num_samples), num_clients)]


def capped_dirichlet(alpha: float, labels: Indices, num_clients: int, generator: np.random.Generator) -> list[Indices]:
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


def label_shards(labels: Indices, num_clients: int, per_client: int, generator: np.random.Generator) -> list[Indices]:
    """Cut the samples, shuffled and then sorted by class, into equal pieces and deal `per_client` to each client."""
    order = generator.permutation(len(labels))
    pieces = np.array_split(order[np.argsort(labels[order], kind="stable")], num_clients * per_client)
    dealt = generator.permutation(len(pieces)).reshape(num_clients, per_client)
    return [np.sort(np.concatenate([pieces[piece] for piece in hand])) for hand in dealt]


def sized(num_samples: int, weights: Floats, min_samples: int, generator: np.random.Generator) -> list[Indices]:
    """Give every client `min_samples` random samples, and of the rest as many as its weight's share.

    Args:
        num_samples: samples, at least `min_samples` for each client.
        weights: [N] positive, of any sum.
        min_samples: fewest samples of a client.
        generator: shuffles the samples.
    """
    rest = num_samples - min_samples * len(weights)
    ends = np.round(np.cumsum(weights / weights.sum()) * rest).astype(int) + min_samples * np.arange(
        1, len(weights) + 1
    )
    return [np.sort(shard) for shard in np.split(generator.permutation(num_samples), ends[:-1])]


def by_value(keys: Indices, num_clients: int, group: bool, generator: np.random.Generator) -> list[Indices]:
    """Share the values of a key [N] out, all of them in groups, or else one each of a random choice.

    One each is in the order of values, so that with all of them the seed does not matter.
    """
    values = np.unique(keys)
    order = generator.permutation(len(values))
    parts = np.array_split(order, num_clients) if group else np.sort(order[:num_clients])[:, None]
    return [np.flatnonzero(np.isin(keys, values[part])) for part in parts]


def shared_values(keys: Indices, num_clients: int, sharing: int, generator: np.random.Generator) -> list[Indices]:
    """Give one value of a key [N] to every `sharing` clients, who share its samples at random and equally.

    Values are chosen as `by_value` chooses them; the last one is shared by the clients that are left.
    """
    values = np.unique(keys)
    num_chosen = -(-num_clients // sharing)
    chosen = values[np.sort(generator.permutation(len(values))[:num_chosen])]
    shards: list[Indices] = []
    for value in chosen:
        samples = generator.permutation(np.flatnonzero(keys == value))
        shards += map(np.sort, np.array_split(samples, min(sharing, num_clients - len(shards))))
    return shards
