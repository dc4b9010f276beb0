"""AsyncFedED: an update counts by how far the model has moved relative to it (Wang et al., 2022)."""

import math
from collections.abc import Mapping, Sequence

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from interlude.models.network import Network, Parameters
from interlude.simulator.federation.client_day import ClientDay
from interlude.simulator.federation.dispatch import Role
from interlude.simulator.federation.rules import OnArrival
from interlude.simulator.methods.base import Method
from interlude.simulator.methods.options import MethodOptions
from interlude.simulator.training.merge import ClientUpdate, add_deltas, difference
from interlude.simulator.training.transfer import numbers
from interlude.simulator.training.values import Named, Values


class AsyncFedEDOptions(MethodOptions):
    """Options of AsyncFedED."""

    name: str = "asyncfeded"
    server: OnArrival = OnArrival()
    scale: PositiveFloat = Field(1.0, description="lambda of eta = lambda / (gamma + eps); at most eps")
    damping: PositiveFloat = Field(1.0, description="eps of eta = lambda / (gamma + eps)")
    target_staleness: NonNegativeFloat = Field(2.0, description="gamma bar, the staleness that local epochs aim at")
    adaptation: NonNegativeFloat = Field(1.0, description="kappa, epochs gained per unit of gamma below gamma bar")
    initial_epochs: PositiveInt = Field(1, description="E_0, in place of the training section's local_epochs")
    most_epochs: PositiveInt = Field(10, description="E_k is at most this")

    @model_validator(mode="after")
    def _makes_no_step_beyond_the_update(self) -> "AsyncFedEDOptions":
        if self.scale > self.damping:
            raise ValueError(
                f"scale must be at most damping, {self.damping:g}: a fresh update is added scale / damping times"
            )
        if self.initial_epochs > self.most_epochs:
            raise ValueError(f"initial_epochs must be at most most_epochs, {self.most_epochs}")
        return self


class AsyncFedED(Method):
    """AsyncFedED: Euclidean distance as staleness.

    Paper:
        Wang, Yang, He, Shi, Chen, AsyncFedED: Asynchronous Federated Learning with Euclidean Distance based Adaptive
        Weight Aggregation, arXiv 2205.13797, 2022
    Client:
        E_k epochs of SGD on CE(fused logits), E_k as the server says
    Server:
        on each arrival, with Delta_k = theta_k - theta^(v_k) and norms over the groups that k trained,
            gamma_k = ||theta - theta^(v_k)|| / ||Delta_k||
            theta_g <- theta_g + lambda / (gamma_k + eps) Delta_k,g for every group g that k trained
            E_k     <- E_k + floor(kappa (gamma bar - gamma_k)), at least 1 and at most most_epochs
    Payload:
        down: all groups of the modalities held, and E_k, which is not counted; up: the groups trained, and n_k
    Waits:
        clients wait for all their modalities; the server for no client
    Staleness:
        gamma_k, in place of the versions merged since the start version; the server keeps the versions in flight. The
        server rule's own weights (mixing, staleness) are not used
    Limits:
        * a fresh update has gamma_k = 0 and is added lambda / eps times: with lambda = eps as a whole
        * kappa (adaptation) = 0: E_0 epochs for ever; timing-only: E_0, too
        * an update that moved nothing (Delta_k = 0) adds nothing, and is infinitely stale unless it is fresh
    Reconstructed:
        * all four hyper-parameters and E_0: no values of the paper's were found; they are to be tuned, gamma bar above
          all: gamma_k grows with the number of clients in flight, and where it is always larger E_k falls to 1
        * most_epochs: without it the client of every fresh update trains ever longer
        * one gamma_k and one E_k of all the groups that a client trained; E_k counts where modalities are trained
          apart, too, and gap training does not follow it
    """

    Options = AsyncFedEDOptions
    options: AsyncFedEDOptions

    def num_steps(self, client: ClientDay) -> int:
        """Return the steps of E_k passes over the window."""
        return client.num_steps(client.role)

    def assign(self, memory: Mapping[int, int], roles: Mapping[int, Role]) -> Mapping[int, Role]:
        """Return E_k of every client that is dispatched."""
        return {client: memory.get(client, self.options.initial_epochs) for client in roles}

    def initial_memory(self, network: Network, num_clients: int) -> Mapping[int, int]:
        """Return no local epochs: all clients start with E_0."""
        del network, num_clients
        return {}

    def observe(self, memory: Mapping[int, int]) -> Values:
        """Return the mean of E_k over the clients that were merged."""
        return {Named("local_epochs"): torch.tensor(sum(memory.values()) / len(memory))} if memory else {}

    def advance(
        self, model: Parameters, memory: Mapping[int, int], updates: Sequence[ClientUpdate]
    ) -> tuple[Parameters, Mapping[int, int]]:
        """Return the next model, and the local epochs after it."""
        (update,) = updates
        options = self.options
        gamma = euclidean_staleness(model, update)
        eta = options.scale / (gamma + options.damping)
        before = memory.get(update.client, options.initial_epochs)
        gained = options.adaptation * (options.target_staleness - gamma) if options.adaptation else 0.0
        epochs = math.floor(min(max(1.0, before + gained), options.most_epochs))  # 1 where gamma is NaN
        return add_deltas(model, updates, lambda position, group: eta, 1.0), {**memory, update.client: epochs}


def euclidean_staleness(model: Parameters, update: ClientUpdate) -> float:
    """Return gamma_k = ||theta - theta^(v_k)|| / ||Delta_k|| over the groups that an update holds."""
    groups = update.groups
    gone, trained = difference(model, update.start, groups), difference(update.parameters, update.start, groups)
    moved, own = numbers([gone.norm(), trained.norm()])
    return moved / own if own else (math.inf if moved else 0.0)
