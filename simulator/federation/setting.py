"""What is constant over a run: who holds what, and what all clients share."""

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from interlude.models.network import Network
from interlude.simulator.arrays import Indices
from interlude.simulator.training.merge import Holders
from interlude.simulator.training.profile.costs import CostModel
from interlude.simulator.training.spec import TrainingSpec
from interlude.simulator.world.world import World


@dataclass(frozen=True)
class Population:
    """The samples and modalities of every client."""

    shards: Sequence[Indices]
    """[n_k] sample indices of each client."""
    modalities: Sequence[tuple[str, ...]]
    """Modalities of each client, in the data set's order."""

    @property
    def num_clients(self) -> int:
        """Number of clients."""
        return len(self.shards)

    @cached_property
    def num_samples(self) -> Indices:
        """[N] samples of each client."""
        sizes: Indices | None = getattr(self.shards, "sizes", None)  # of shards computed when they are asked for
        return np.array([len(shard) for shard in self.shards], np.int64) if sizes is None else sizes


@dataclass(frozen=True)
class Setting:
    """Everything that is constant over a run and shared by its clients."""

    world: World
    population: Population
    network: Network
    training: TrainingSpec
    costs: CostModel
    seed: int
    broadcast_bytes: int
    """Payload of the values that accompany the model, to all clients and to one; their shapes never change."""

    @cached_property
    def may_train_apart(self) -> bool:
        """Whether a modality can miss so that the others are then trained each alone."""
        return self.world.may_train_apart

    @cached_property
    def num_window_samples(self) -> Sequence[int]:
        """[N] samples of one local round of each client."""
        held = self.population.num_samples
        most = self.training.window_samples
        return array("q", (held if most is None else np.minimum(held, most)).tobytes())

    @cached_property
    def holders(self) -> Mapping[str, Holders]:
        """The clients that hold each group."""
        kinds = {held: kind for kind, held in enumerate(dict.fromkeys(self.population.modalities))}
        kind = np.fromiter(map(kinds.__getitem__, self.population.modalities), np.int64, self.population.num_clients)
        num_clients = np.bincount(kind, minlength=len(kinds)).tolist()
        num_samples = np.zeros(len(kinds), np.int64)
        np.add.at(num_samples, kind, np.array(self.num_window_samples))
        holders: dict[str, Holders] = {}
        for held, clients, samples in zip(kinds, num_clients, num_samples.tolist(), strict=True):
            for group in self.network.groups_of(held):
                others = holders.get(group, Holders(0, 0))
                holders[group] = Holders(others.num_clients + clients, others.num_samples + samples)
        return holders

    @cached_property
    def download_bytes(self) -> Mapping[tuple[str, ...], int]:
        """Payload of a full download by the modalities that a client holds."""
        network = self.network
        held = set(self.population.modalities)
        return {m: network.num_bytes(network.groups_of(m)) + self.broadcast_bytes for m in held}
