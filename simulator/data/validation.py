"""The validation part: training samples that no client holds, on which methods are tuned and models chosen.

It is drawn from the run's seed before clients' shards are, so that all methods of a scenario share it.
"""

import numpy as np

from interlude.simulator.arrays import Indices
from interlude.simulator.counts import round_product
from interlude.simulator.data.dataset import Dataset
from interlude.simulator.data.partition import FilesPartition, NaturalPartition, PartitionSpec, partition
from interlude.simulator.errors import BadInputError
from interlude.simulator.randomness import Stream


def validation_part(share: float, spec: PartitionSpec, dataset: Dataset, num_clients: int, seed: int) -> Indices:
    """Return the sample indices of the validation part, sorted.

    Every class loses the same share. Where the data say what belongs together, so does every such group, and classes
    only within it: every value of a natural partition's key, every client of a partition by files.

    Args:
        share: of the training samples, in [0, 0.5].
        spec: the partition of the samples that are left.
        dataset: whose training set is split.
        num_clients: clients.
        seed: the run's seed.

    Raises:
        BadInputError: if the share is above 0 but comes to no sample, or a file of the partition is damaged.
    """
    if share == 0.0:
        return np.empty(0, np.int64)
    labels = dataset.train[1].numpy()
    part = stratified_part(share, _groups(spec, dataset, num_clients, seed), labels, Stream(seed, "validation"))
    if not len(part):
        raise BadInputError(
            f"evaluate.validation: {share} of {len(labels)} training samples is no sample; raise it, or set it to 0"
        )
    return part


def stratified_part(share: float, groups: Indices, labels: Indices, stream: Stream) -> Indices:
    """Return a random share of samples, sorted: a systematic sample, of all in random order by group and class.

    Every sample is as likely; the numbers of each group, and of each class in a group of few, are off by one at most.
    A sample alone in its group stays out, so that no group is emptied.

    Args:
        share: in [0, 0.5].
        groups: [N] the group of each sample.
        labels: [N] the class of each sample.
        stream: shuffles the samples, and draws where the systematic sample begins.
    """
    _, group, size = np.unique(groups, return_inverse=True, return_counts=True)
    eligible = np.flatnonzero(size[group] > 1)
    num_drawn = min(round_product(len(groups), share), len(eligible) // 2)  # so no two neighbours are drawn
    if not num_drawn:
        return np.empty(0, np.int64)
    generator = stream.generator()
    shuffled = generator.permutation(eligible)
    order = shuffled[np.lexsort((labels[shuffled], groups[shuffled]))]
    positions = (np.arange(num_drawn) * len(order) + generator.integers(len(order))) // num_drawn
    return np.sort(order[positions])


def _groups(spec: PartitionSpec, dataset: Dataset, num_clients: int, seed: int) -> Indices:
    """Return the number [N] of the group of each training sample."""
    labels = dataset.train[1].numpy()
    match spec:
        case NaturalPartition():
            return dataset.keys[spec.key]
        case FilesPartition():
            holders = np.full(len(labels), num_clients)  # those that no file names are a group, too
            for client, shard in enumerate(partition(spec, dataset, num_clients, seed)):
                holders[shard] = client
            return holders
        case _:
            return labels
