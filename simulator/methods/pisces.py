"""Pisces: clients chosen by loss and staleness, and merges paced by the slowest client (Jiang et al., SoCC 2022)."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from pydantic import Field, NonNegativeFloat, PositiveInt
from torch import Tensor
from torch.nn import functional

from interlude.models.network import Network, Parameters
from interlude.simulator.federation.client_day import ClientDay
from interlude.simulator.federation.dispatch import Role
from interlude.simulator.federation.rules import Buffered
from interlude.simulator.federation.staleness import ConstantStaleness, StalenessSpec
from interlude.simulator.federation.views import SelectionView
from interlude.simulator.methods.base import Method
from interlude.simulator.methods.options import MethodOptions
from interlude.simulator.methods.waiting import Ready
from interlude.simulator.randomness import Stream
from interlude.simulator.training.merge import ClientUpdate
from interlude.simulator.training.objective import Batch, Context, CrossEntropy, Objective
from interlude.simulator.training.transfer import numbers
from interlude.simulator.training.values import Named, Values

_LOSS = Named("rms_loss")


class PacedBuffer(Buffered):
    """Semi-asynchronous at a pace that the slowest client's local round sets, without weights for staleness."""

    size: PositiveInt = Field(3, description="updates that a merge needs")
    pace: float = Field(10.0, ge=5, le=15, description="b, merges in the time of the slowest client's local round")
    staleness: StalenessSpec = ConstantStaleness()


class PiscesOptions(MethodOptions):
    """Options of Pisces."""

    name: str = "pisces"
    server: PacedBuffer = PacedBuffer()
    staleness_penalty: NonNegativeFloat = Field(0.5, description="beta, exponent of 1 + the client's mean staleness")


@dataclass(frozen=True)
class ReportsRmsLoss(CrossEntropy):
    """Cross-entropy, and the root of its mean square over the samples as training began, reported to the server."""

    def prepare(self, network: Network, parameters: Parameters, window: Batch, context: Context) -> Values:
        """Return sqrt(mean_i CE_i^2) at the parameters that training starts from."""
        del context
        logits = network(parameters, window.only(self.modalities)).logits
        losses = functional.cross_entropy(logits, window.labels, reduction="none")
        return {_LOSS: window.mean(losses.square()).sqrt()}

    def report(self, network: Network, parameters: Parameters, window: Batch, context: Context) -> Values:
        """Return it."""
        del network, parameters, window
        return {_LOSS: context.prepared[_LOSS]}


class Seen(NamedTuple):
    """What the server knows of a client."""

    quality: Tensor
    """n_k times the loss that it reported last, 0-d."""
    num_updates: int
    staleness: int
    """Sum over its updates."""

    def discount(self, penalty: float) -> float:
        """Return what the quality is divided by."""
        return math.pow(1.0 + self.staleness / self.num_updates, penalty)


def utilities(seen: Mapping[int, Seen], penalty: float) -> dict[int, float]:
    """Return u_k of the clients of which something is known."""
    qualities = numbers(of.quality for of in seen.values())
    return {k: quality / of.discount(penalty) for (k, of), quality in zip(seen.items(), qualities, strict=True)}


class Pisces(Method):
    """Pisces.

    Paper:
        Jiang, Wang, Li, Li, Pisces: Efficient Federated Learning via Guided Asynchronous Training, SoCC 2022
    Client:
        E epochs of SGD on CE(fused logits); reports l_k = sqrt(mean_i CE_i^2) over its window as training begins
    Server:
        of the idle clients those with the largest u_k are sent out, those never merged before all others, at random:
            u_k = n_k l_k / (1 + mean staleness of k's updates)^beta
        when m updates or more are there, and since the last merge has passed 1 / b of the longest of all clients' last
        local rounds, theta_g <- theta_g + 1 / K_g sum_k (theta_k,g - theta_g^(v_k)), K_g = updates that trained group g
    Payload:
        down: all groups of the modalities held; up: the groups trained, n_k, and one float
    Waits:
        clients wait for all their modalities; the server for m updates and for its pace; a client that returns is
        replaced at once
    Staleness:
        tau = versions merged since the client's start version, counted at the merge; it lowers u_k, and no weight
    Limits:
        * with all clients in flight (concurrency unset) there is no choice: who returns is sent out again
        * equal losses and samples: the clients with the least staleness first
    Reconstructed:
        * l_k of the model that training starts from, over samples, takes a forward pass more; the code that formulas
          are after (boyi-liu/AFL-Lib) has it over the batches of training, and replaces the model by the buffer's mean
        * a client that was never merged has u_k = infinity, where that code has 0, so that all are tried; beta, b and m
          are that code's
        * u_k is refreshed when an update is merged, not when it arrives; K_g per group
        * outliers among the losses, which the paper leaves out against attacks, are not looked for
    """

    Options = PiscesOptions
    options: PiscesOptions

    def objective(self, client: ClientDay, ready: Ready) -> Objective:
        """Return cross-entropy that reports."""
        del client
        return ReportsRmsLoss(ready.modalities)

    def select(self, view: SelectionView, num_clients: int) -> Mapping[int, Role]:
        """Return the idle clients with the largest u_k."""
        seen: Mapping[int, Seen] = view.memory
        idle = {client: seen[client] for client in view.idle if client in seen}
        known = utilities(idle, self.options.staleness_penalty)
        draw = Stream(view.seed, "pisces").generator(view.version, view.num_returned)
        shuffled = [int(client) for client in draw.permutation(view.idle)]
        by_utility = sorted(shuffled, key=lambda client: -known.get(client, math.inf))
        return dict.fromkeys(by_utility[:num_clients])

    def initial_memory(self, network: Network, num_clients: int) -> Mapping[int, Seen]:
        """Return nothing: no client was merged."""
        del network, num_clients
        return {}

    def remember(self, memory: Mapping[int, Seen], updates: Sequence[ClientUpdate]) -> Mapping[int, Seen]:
        """Return what is known of every client after updates."""
        seen = dict(memory)
        for update in updates:
            before = seen.get(update.client)
            num_updates, staleness = (0, 0) if before is None else before[1:]
            quality = update.num_samples * update.report[_LOSS]
            seen[update.client] = Seen(quality, num_updates + 1, staleness + update.staleness)
        return seen
