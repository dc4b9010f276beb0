"""FedAC: a buffer merged by an adaptive optimiser, its clients' drift corrected by control variates (Zang et al.).

AAAI 2024.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from pydantic import Field, PositiveFloat, PositiveInt
from torch import Tensor

from interlude.models.groups import group_of
from interlude.models.network import Network, Parameters
from interlude.models.packed import Layout, Packed, pack
from interlude.simulator.federation.client_day import ClientDay
from interlude.simulator.federation.dispatch import Payload
from interlude.simulator.federation.rules import Buffered
from interlude.simulator.methods.base import Method
from interlude.simulator.methods.options import MethodOptions
from interlude.simulator.methods.waiting import Ready
from interlude.simulator.training.merge import ClientUpdate, weighted_sum
from interlude.simulator.training.objective import Batch, Context, CrossEntropy, Noise, Objective
from interlude.simulator.training.transfer import all_to_device
from interlude.simulator.training.values import Values, by_modality, named

_CONTROL = "control"
_CORRECTION = "correction"


class AdaptiveBuffer(Buffered):
    """A buffer merged by an adaptive optimiser; its staleness weights act nowhere."""

    size: PositiveInt = Field(5, description="B, updates in a full buffer")
    learning_rate: PositiveFloat = Field(1e-3, description="eta, about the size of a merge's step in every parameter")


class FedACOptions(MethodOptions):
    """Options of FedAC."""

    name: str = "fedac"
    waiting: Literal["all", "first"] = Field("all", description="what a client does until its modalities are there")
    server: AdaptiveBuffer = AdaptiveBuffer()
    beta1: float = Field(0.6, ge=0, lt=1, description="b1, decay of the mean of merged updates")
    beta2: float = Field(0.9, ge=0, lt=1, description="b2, decay of the mean of their squares")
    epsilon: PositiveFloat = Field(1e-8, description="added to the root of the mean square")
    least_weight: PositiveFloat = Field(0.1, description="least weight of a stale update, whatever its direction")


@dataclass(frozen=True)
class Corrected(CrossEntropy):
    """Cross-entropy whose every gradient is corrected by C - C_k."""

    def modulate(
        self,
        network: Network,
        gradients: Parameters,
        parameters: Parameters,
        batch: Batch,
        context: Context,
        noise: Noise,
    ) -> Parameters:
        """Return g - C_k + C."""
        del parameters, batch, noise
        corrections = by_modality(context.broadcast, _CORRECTION)
        return {
            name: gradient + _of(network.layout, corrections, name).to(gradient.device)
            for name, gradient in gradients.items()
        }

    def report(self, network: Network, parameters: Parameters, window: Batch, context: Context) -> Values:
        """Return the C that was received, of the groups trained: with it the server makes C_k' - C_k."""
        del parameters
        received = by_modality(context.broadcast, _CONTROL)
        return named(_CONTROL, {group: received[group].to(window.labels.device) for group in self.groups(network)})


@dataclass(frozen=True)
class Controls:
    """The optimiser's moments and all control variates: C of each group is [P_g], in the order of the layout."""

    mean: Tensor
    """m [P]."""
    square: Tensor
    """v [P]."""
    control: Mapping[str, Tensor]
    """C."""
    own: Mapping[int, Mapping[str, Tensor]] = field(default_factory=dict)
    """C_k of the groups that client k has trained."""


class FedAC(Method):
    """FedAC: adaptive asynchronous merging with fine-grained correction.

    Paper:
        Zang, Xue, Ou, Chu, Du, Long, Efficient Asynchronous Federated Learning with Prospective Momentum Aggregation
        and Fine-Grained Correction, AAAI 2024 (abstract only); not the clustered method of the same name
    Client:
        E epochs of SGD on CE(fused logits), in every step along g - C_k + C with the control variates C_k of its own
        and C as received; after S steps of learning rate eta_l
            C_k' = C_k - C + (theta^v - theta_k) / (S eta_l)
    Server:
        when B updates are there, each as Delta_k = theta_k - theta^(v_k),
            r_k = max(cos(theta - theta^(v_k), Delta_k), 0.1), 1 if v_k is the current version
            w_k = r_k / sum_j r_j
            D = sum_k w_k Delta_k;  m <- b1 m + (1 - b1) D;  v <- b2 v + (1 - b2) D^2
            theta <- theta + eta (b1 m + (1 - b1) D) / (sqrt(v) + eps)
            C <- C + (B / N) sum_k w_k (C_k' - C_k)
        per group g over the B_g updates that trained it and the N_g clients that hold it
    Payload:
        twice FedBuff's: down all groups of the modalities held and their C; up the groups trained, C_k' - C_k of them,
        and n_k
    Waits:
        clients for all modalities (waiting: all) or the first (waiting: first); the server for B updates
    Staleness:
        tau = 0 weighs 1; a stale update weighs by the direction in which the model has gone since, not by tau
    Limits:
        * one client, B = 1: nothing is corrected, as C_k = C
        * a merge moves every parameter by about eta, whatever the scale of the updates: eta must be tuned anew for
          small networks and short runs
        * with momentum, theta^v - theta_k is longer than S eta_l gradients, and so are the control variates
        * the server rule's staleness weights act nowhere
    Reconstructed:
        * all formulas and defaults after a third party's port (boyi-liu/AFL-Lib, fedac.py) and the abstract; as
          SCAFFOLD, but unlike the port, every step is corrected (not the result once), S counts steps (not epochs) and
          C moves by B / N (not by 1)
        * the cosine is over all groups that the client trained; eps = 1e-8; no bias correction, as in the port
        * C_k is kept by the simulated server, but stands for the client's memory; an upload that is lost, or
          not merged yet when the client's next round begins, leaves it as it was
    """

    Options = FedACOptions
    options: FedACOptions

    def downloaded_groups(self, client: ClientDay) -> tuple[str, ...]:
        """Return every group of the client's modalities twice: its weights and its control variate."""
        groups = client.network.groups_of(client.held)
        return (*groups, *groups)

    def objective(self, client: ClientDay, ready: Ready) -> Objective:
        """Return cross-entropy along corrected gradients."""
        del client
        return Corrected(ready.modalities)

    def payload(self, client: ClientDay) -> Payload:
        """Return what was trained, and S eta_l of each group; the report has the size of the control variates."""
        return Payload(message=client.step_lengths)

    def initial_memory(self, network: Network, num_clients: int) -> Controls:
        """Return moments and control variates of zeros."""
        del num_clients
        layout = network.layout
        zeros = torch.zeros(layout.size, dtype=layout.dtype)
        return Controls(zeros, zeros, {group: zeros[columns] for group, columns in layout.group_columns.items()})

    def own_values(self, memory: Controls, client: int) -> Values:
        """Return C, and C - C_k."""
        own = memory.own.get(client, {})
        corrections = {group: c - own[group] if group in own else c for group, c in memory.control.items()}
        return {**named(_CONTROL, memory.control), **named(_CORRECTION, corrections)}

    def advance(
        self, model: Parameters, memory: Controls, updates: Sequence[ClientUpdate]
    ) -> tuple[Parameters, Controls]:
        """Return the model after a step of the optimiser, its moments and the control variates."""
        options, theta = self.options, pack(model)
        device = theta.flat.device
        at_host = {"mean": memory.mean, "square": memory.square}  # before the first merge
        moments, known = all_to_device([at_host, memory.control], device)
        mean, square, merged = moments["mean"].clone(), moments["square"].clone(), theta.flat.clone()
        starts = [theta.layout.pack(update.start).flat for update in updates]
        deltas = [theta.layout.pack(u.parameters).flat - start for u, start in zip(updates, starts, strict=True)]
        directions = [
            self._direction(theta, update, start, delta)
            for update, start, delta in zip(updates, starts, deltas, strict=True)
        ]
        control, own = known, {client: dict(values) for client, values in memory.own.items()}
        for group, columns in theta.layout.group_columns.items():
            holders = [position for position, update in enumerate(updates) if group in update.groups]
            if not holders:
                continue
            total = torch.stack([directions[position] for position in holders]).sum()
            weights = [directions[position] / total for position in holders]
            step = weighted_sum([deltas[position][columns] for position in holders], weights)
            mean[columns] = options.beta1 * mean[columns] + (1.0 - options.beta1) * step
            square[columns] = options.beta2 * square[columns] + (1.0 - options.beta2) * step.square()
            ahead = options.beta1 * mean[columns] + (1.0 - options.beta1) * step
            merged[columns] += options.server.learning_rate * ahead / (square[columns].sqrt() + options.epsilon)
            changes = [control_change(updates[position], deltas[position][columns], group) for position in holders]
            share = len(holders) / updates[0].holders[group].num_clients
            control[group] = control[group] + share * weighted_sum(changes, weights)
            for position, change in zip(holders, changes, strict=True):
                of_client = own.setdefault(updates[position].client, {})
                of_client[group] = of_client[group] + change if group in of_client else change
        return Packed(theta.layout, merged), replace(memory, mean=mean, square=square, control=control, own=own)

    def _direction(self, theta: Packed, update: ClientUpdate, start: Tensor, delta: Tensor) -> Tensor:
        """Return r_k []: how far an update goes where the model has gone since the update's start."""
        if update.staleness == 0:
            return delta.new_ones(())
        spans = theta.layout.spans(update.groups)
        gone, goes = (torch.cat([flat[span] for span in spans]) for flat in (theta.flat - start, delta))
        cosine: Tensor = torch.cosine_similarity(gone, goes, dim=0)
        return cosine.clamp(min=self.options.least_weight)


def control_change(update: ClientUpdate, delta: Tensor, group: str) -> Tensor:
    """Return C_k' - C_k = (theta^v - theta_k) / (S eta_l) - C of a group [P_g], C being what the client received."""
    length: float = update.message[group]
    return -delta / length - by_modality(update.report, _CONTROL)[group]


def _of(layout: Layout, by_group: Mapping[str, Tensor], name: str) -> Tensor:
    """Return a parameter's part of what is kept by group."""
    group, columns = group_of(name), layout.columns[name]
    first = layout.group_columns[group].start
    return layout.shaped(by_group[group][columns.start - first : columns.stop - first], name)
