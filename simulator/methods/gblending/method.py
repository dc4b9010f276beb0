"""G-Blending: every head's loss is weighted by how well that head generalises (Wang et al., CVPR 2020)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from pydantic import Field, PositiveInt
from torch import Tensor

from interlude.models.network import Network
from interlude.simulator.federation.client_day import ClientDay
from interlude.simulator.federation.dispatch import REPORT_ONLY, Role, Steps
from interlude.simulator.federation.rules import Barrier
from interlude.simulator.federation.views import SelectionView
from interlude.simulator.methods.base import Method
from interlude.simulator.methods.gblending.objective import GAIN, OVERFITTING, WEIGHT, Blended, Probe, normalised
from interlude.simulator.methods.options import MethodOptions
from interlude.simulator.methods.waiting import Ready, in_arrival_order
from interlude.simulator.training.merge import ClientUpdate
from interlude.simulator.training.objective import CrossEntropy, Objective
from interlude.simulator.training.task import LocalSteps
from interlude.simulator.training.values import FUSED, Named, Values, named

_LEAST_SQUARE = 1e-4
"""Below which O^2 is not taken seriously: a probe of few samples may overfit by next to nothing."""


class GBlendingOptions(MethodOptions):
    """Options of G-Blending."""

    name: str = "gblending"
    server: Barrier = Field(Barrier(), description="a barrier: estimates are made between two rounds")
    super_epoch: PositiveInt = Field(10, description="versions (rounds) for which an estimate of the weights holds")
    held_out: int = Field(10, ge=2, description="a probe holds out one in so many samples of its window")
    probe_epochs: PositiveInt | None = Field(
        None, description="passes over the window that a probe trains for; unset: the scenario's local epochs"
    )


@dataclass(frozen=True)
class Blend:
    """What the server knows of the heads."""

    weights: Mapping[str, Tensor]
    """w_h of the fused head and of each modality's."""
    estimates: Mapping[str, tuple[Tensor, Tensor]]
    """G_h and O_h of those that were ever probed."""

    def updated(self, updates: Sequence[ClientUpdate]) -> "Blend":
        """Return this after probes: G and O averaged by n_k over the clients that probed a head."""
        found: dict[str, Tensor] = {}
        for head in self.weights:
            keys = (Named(GAIN, head), Named(OVERFITTING, head))
            probes = [update for update in updates if keys[0] in update.report]
            if probes:
                total = sum(update.num_samples for update in probes)
                shares = [torch.stack([u.report[key] * (u.num_samples / total) for u in probes]) for key in keys]
                found[head] = torch.stack([share.sum() for share in shares])
        read = torch.stack(list(found.values())).cpu().unbind() if found else ()
        estimates = {**self.estimates, **{head: (of[0], of[1]) for head, of in zip(found, read, strict=True)}}
        return Blend(normalised(_raw_weights(estimates, self.weights), self.weights), estimates)


def _raw_weights(estimates: Mapping[str, tuple[Tensor, Tensor]], weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return max(G_h, 0) / max(O_h^2, 1e-4); 0 of a head that was never probed."""
    raw = {head: torch.zeros_like(weight) for head, weight in weights.items()}
    return raw | {
        head: gain.clamp(min=0.0) / o.square().clamp(min=_LEAST_SQUARE) for head, (gain, o) in estimates.items()
    }


class GBlending(Method):
    """G-Blending: gradient blending, by the overfitting-to-generalisation ratio.

    Heads h: the fused one, and each modality alone.

    Paper:
        Wang, Tran, Feiszli, What Makes Training Multi-modal Classification Networks Hard?, CVPR 2020
    Client:
        SGD on sum_h w_h CE(f_h). A probe of one head h trains CE(f_h) alone from the received model, on its window but
        for every tenth sample, and reports, between before and after,
            G_h = L_held - L_held'
            O_h = (L_held' - L_trained') - (L_held - L_trained)
    Server:
        every super-epoch (10 versions) G_h and O_h are averaged by n_k over the clients that probed h, and
            w_h = max(G_h, 0) / max(O_h^2, 1e-4) / (their sum over all heads)
        theta_g <- sum_k n_k theta_k,g / sum_k n_k for every group g, over the clients that trained g
    Payload:
        as FedAvg, and M + 1 floats w_h down; a probe: the groups that its head needs and w_h down, 2 floats and n_k up
    Waits:
        as FedAvg; the first round of a super-epoch for the slowest probe besides, which waits for its head's modalities
    Staleness:
        always 0: every update starts from the model it is merged into
    Limits:
        * w = 1 of the fused head and 0 of the others: FedAvg's loss
        * timing-only: w_h stay equal, and probes are made all the same
    Reconstructed:
        * federated: all idle clients are probed, each with one head, dealt out in turns that move on by one with every
          super-epoch; the paper trains every head on all the data, so each client's part of that costs it one head
        * a head of one modality is the fusion head with the others zero-filled; the paper has classifiers of their own
        * w_h is 0 where a head's held-out loss did not fall, as before where none did, and O^2 at least 1e-4
        * every tenth sample is held out in probes alone, and joint training has them; 10 and 10 are this project's
        * a client without some modalities has the weights of its heads at hand, scaled to sum to 1; with one modality
          it is plain FedAvg
        * a head that was not probed, all answers lost, keeps its last estimate
    """

    Options = GBlendingOptions
    options: GBlendingOptions

    def candidates(self, view: SelectionView, num_clients: int) -> Mapping[int, Role]:
        """Return all idle clients and the head that each probes, where a super-epoch begins."""
        del num_clients
        super_epoch, version = divmod(view.version, self.options.super_epoch)
        if version > 0:
            return {}
        heads = {client: heads_of(view.population.modalities[client]) for client in view.idle}
        return {client: of[(turn + super_epoch) % len(of)] for turn, (client, of) in enumerate(heads.items())}

    def client_round(self, client: ClientDay) -> Steps:
        """Probe a head, or train."""
        if client.role is None:
            yield from super().client_round(client)
            return
        modalities = tuple(m for m in client.modalities if client.role in (FUSED, m))
        yield from client.download(client.network.groups_of(modalities))
        if not modalities:
            return  # it misses today
        for modality in in_arrival_order(client):
            if modality in modalities:
                yield from client.wait_for(modality)
        probe = Probe(modalities, client.role, self.options.held_out)
        steps = client.num_steps(self.options.probe_epochs)
        yield from client.train(LocalSteps(probe, steps, f"probe-{client.role}"))
        yield from client.upload(REPORT_ONLY)

    def objective(self, client: ClientDay, ready: Ready) -> Objective:
        """Return the blended loss, or plain cross-entropy of one modality."""
        del client
        return (Blended if len(ready.modalities) > 1 else CrossEntropy)(ready.modalities)

    def initial_memory(self, network: Network, num_clients: int) -> Blend:
        """Return equal weights."""
        del num_clients
        heads = (FUSED, *network.modalities)
        return Blend({head: torch.tensor(1.0 / len(heads)) for head in heads}, {})

    def broadcast(self, memory: Blend) -> Values:
        """Return w_h."""
        return named(WEIGHT, memory.weights)

    def observe(self, memory: Blend) -> Values:
        """Return w_h."""
        return named(WEIGHT, memory.weights)

    def remember(self, memory: Blend, updates: Sequence[ClientUpdate]) -> Blend:
        """Return what is known of the heads after probes; as it was after training."""
        return memory.updated(updates) if any(key.name == GAIN for u in updates for key in u.report) else memory


def heads_of(modalities: Sequence[str]) -> tuple[str, ...]:
    """Return the heads that a client can probe: of one modality, that alone."""
    return (FUSED, *modalities) if len(modalities) > 1 else tuple(modalities)
