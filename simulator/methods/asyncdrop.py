"""Async-Drop: every task trains a random half of the weights, and only these are mixed in (Dun et al., 2023)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import torch
from pydantic import Field
from torch import Tensor

from interlude.models.network import Network, Parameters
from interlude.models.packed import Layout, Packed, pack
from interlude.simulator.counts import ceil_product
from interlude.simulator.federation.client_day import ClientDay
from interlude.simulator.federation.dispatch import Payload, Steps
from interlude.simulator.federation.rules import UnhurriedOnArrival
from interlude.simulator.methods.base import Method
from interlude.simulator.methods.options import MethodOptions
from interlude.simulator.methods.waiting import WAITING, Ready
from interlude.simulator.training.merge import ClientUpdate
from interlude.simulator.training.objective import Batch, Context, CrossEntropy, Objective
from interlude.simulator.training.transfer import to_device
from interlude.simulator.training.values import Named, Values

_PURPOSE = "async-drop"
_NUM_SEEDS = 1 << 53  # as many as a random number in (0, 1) tells apart
_SEED: Final = Named("mask_seed")
_MASK: Final = Named("mask")


class AsyncDropOptions(MethodOptions):
    """Options of Async-Drop."""

    name: str = "async-drop"
    waiting: Literal["all", "first"] = Field("all", description="what a client does until its modalities are there")
    server: UnhurriedOnArrival = Field(UnhurriedOnArrival(), description="merged on arrival, where the mask is 1")
    dropped: float = Field(0.5, ge=0, lt=1, description="p, share of every tensor's weights that a task leaves out")


@dataclass(frozen=True)
class Masked(CrossEntropy):
    """Cross-entropy of the network whose dropped weights are 0, so that these have no gradient either."""

    dropped: float

    def prepare(self, network: Network, parameters: Parameters, window: Batch, context: Context) -> Values:
        """Return the task's mask [P]."""
        del parameters
        return {_MASK: mask_of(network.layout, context.broadcast[_SEED].to(window.labels.device), self.dropped)}

    def loss(self, network: Network, parameters: Parameters, batch: Batch, context: Context) -> Tensor:
        """Return the mean cross-entropy."""
        layout, mask = network.layout, context.prepared[_MASK]
        names = [name for group in self.groups(network) for name in network.groups[group]]
        kept = {name: parameters[name] * layout.shaped(mask[layout.columns[name]], name) for name in names}
        return super().loss(network, {**parameters, **kept}, batch, context)


class AsyncDrop(Method):
    """Async-Drop: asynchronous distributed dropout.

    Paper:
        Dun, Hipolito, Jermaine, Dimitriadis, Kyrillidis, Efficient and Light-Weight Federated Learning via Asynchronous
        Distributed Dropout, AISTATS 2023
    Client:
        a mask M of zeros and ones drawn anew for every task, in which the share p of every tensor is 0; E epochs of SGD
        on CE(fused logits of the weights M w), so that a dropped weight is 0 in every step and stays as it was received
    Server:
        on each arrival theta_g <- theta_g + M a (theta_k,g - theta_g) for the groups g trained, a = alpha s(tau): mixed
        where M is 1, untouched where it is 0
    Payload:
        down: all groups of the modalities held, dense; up: of the groups trained (1 - p) P values and a bitmap of P / 8
        bytes for each tensor of P weights, and n_k
    Waits:
        clients wait for all modalities (waiting: all) or the first (waiting: first); the server for no client; a mask
        leaves single weights out, so it saves no FLOPs
    Staleness:
        as FedAsync: versions merged since the client's start version; s as the server rule says
    Limits:
        * p = 0 is FedAsync without its proximal term, but for the bitmaps
        * kept weights are not scaled by 1 / (1 - p), so that activations and gradients shrink at every layer: small
          networks need a larger learning rate, or a smaller p, to learn at all
    Reconstructed:
        * random weights of every tensor, biases too, and a dense download, as in a third party's port
          (boyi-liu/AFL-Lib); the paper drops whole hidden neurons, so that its devices compute and receive less, too
        * a mask leaves out exactly p of every tensor (rounded down), not each weight by itself
        * s(tau), alpha and its default are FedAsync's; p = 0.5 is the port's
        * a client whose modality misses trains the others apart under one mask
    """

    Options = AsyncDropOptions
    options: AsyncDropOptions

    def client_round(self, client: ClientDay) -> Steps:
        """Draw a mask, train and upload under it."""
        seed = int(client.uniform(_PURPOSE) * _NUM_SEEDS)
        yield from client.download()
        ready = yield from WAITING[self.options.waiting](client, self.options.unimodal_epochs)
        apart = client.trains_apart
        steps = self._each_alone(client, ready) if apart else self.local_steps(client, ready)
        values = {**client.broadcast, _SEED: torch.tensor(seed)}
        yield from client.train(*steps, activity="train_unimodal" if apart else "train", broadcast=values)
        network = client.network
        groups = tuple(dict.fromkeys(group for one in steps for group in one.objective.groups(network)))
        yield from client.upload(Payload(groups, masked_bytes(network, groups, self.options.dropped), seed))

    def objective(self, client: ClientDay, ready: Ready) -> Objective:
        """Return the masked cross-entropy."""
        del client
        return Masked(ready.modalities, self.options.dropped)

    def own_values(self, memory: Any, client: int) -> Values:
        """Return a place for the seed of the mask, which the day draws."""
        del memory, client
        return {_SEED: torch.tensor(0)}

    def merge(self, model: Parameters, memory: Any, updates: Sequence[ClientUpdate]) -> Parameters:
        """Return the model mixed with the one update where its mask is 1."""
        theta = pack(model)
        seed = to_device(torch.tensor(updates[0].message), theta.flat.device)
        mixed = pack(super().merge(theta, memory, updates))
        kept = mask_of(theta.layout, seed, self.options.dropped) > 0
        return Packed(theta.layout, torch.where(kept, mixed.flat, theta.flat))


def num_kept(num_weights: int, dropped: float) -> int:
    """Return how many of a tensor's weights a mask keeps: P - p P, rounded up."""
    return num_weights + ceil_product(-num_weights, dropped)


def masked_bytes(network: Network, groups: Sequence[str], dropped: float) -> int:
    """Return the payload of groups under a mask: the weights that are kept, and a bit for every weight."""
    tensors = [network.shapes[name] for group in groups for name in network.groups[group]]
    return sum(num_kept(t.numel(), dropped) * t.itemsize + -(-t.numel() // 8) for t in tensors)


def mask_of(layout: Layout, seed: Tensor, dropped: float) -> Tensor:
    """Return a mask [P] of ones and zeros; of every tensor it keeps the weights with the largest random numbers.

    Args:
        layout: where the tensors lie.
        seed: [] of 53 random bits; the same for every device and way of training.
        dropped: the share of zeros.
    """
    numbers = _scrambled(torch.arange(layout.size, device=seed.device) ^ _scrambled(seed))
    mask = torch.zeros(layout.size, dtype=layout.dtype, device=seed.device)
    parts = []
    for columns in layout.columns.values():
        size = columns.stop - columns.start
        largest = numbers[columns].topk(num_kept(size, dropped)).indices
        parts.append(mask[columns].scatter(0, largest, 1.0))
    return torch.cat([*parts, mask[sum(map(len, parts)) :]])


def _scrambled(numbers: Tensor) -> Tensor:
    """Return 64-bit numbers one to one as random ones: the finaliser of SplitMix64 (Steele et al., OOPSLA 2014)."""
    numbers = numbers + -7046029254386353131  # 0x9E3779B97F4A7C15
    numbers = (numbers ^ _shifted(numbers, 30)) * -4658895280553007687  # 0xBF58476D1CE4E5B9
    numbers = (numbers ^ _shifted(numbers, 27)) * -7723592293110705685  # 0x94D049BB133111EB
    return numbers ^ _shifted(numbers, 31)


def _shifted(numbers: Tensor, bits: int) -> Tensor:
    """Return numbers shifted right, zeros following, which a signed shift does not do."""
    return (numbers >> bits) & ((1 << (64 - bits)) - 1)
