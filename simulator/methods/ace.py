"""ACE and ACED: a step along the mean of all clients' last updates at every arrival (Chang et al., 2025)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from pydantic import Field, NonNegativeInt
from torch import Tensor

from interlude.models.network import Network, Parameters
from interlude.models.packed import Layout, Packed, pack
from interlude.simulator.federation.rules import OnArrival
from interlude.simulator.federation.staleness import ConstantStaleness
from interlude.simulator.methods.base import Method
from interlude.simulator.methods.options import MethodOptions
from interlude.simulator.training.merge import ClientUpdate, delta_of, weighted_sum


class ACEOptions(MethodOptions):
    """Options of ACE."""

    name: str = "ace"
    server: OnArrival = Field(
        OnArrival(mixing=0.1, staleness=ConstantStaleness()),
        description="mixing: eta; about 1 / number of clients keeps the pace of FedAvg's rounds; to be tuned",
    )
    max_age: NonNegativeInt | None = Field(
        None, description="tau_algo of ACED: a cached update that started more versions ago is left out; null: ACE"
    )


@dataclass(frozen=True)
class Cached:
    """The last update of a client."""

    delta: Tensor
    """U_k [P], 0 in the groups that it never trained."""
    versions: Mapping[str, int]
    """The version that each group of it started from."""


@dataclass(frozen=True)
class Cache:
    """The last updates of all clients that were heard of."""

    version: int = 0
    """Merges so far."""
    clients: Mapping[int, Cached] = field(default_factory=dict)


class ACE(Method):
    """ACE: all-client engagement.

    Paper:
        Chang, Yao, Krishnamurthy, Shelton, Chakraborty, Swami, Oymak, Roy-Chowdhury, Mitigating Participation Imbalance
        Bias in Asynchronous Federated Learning, arXiv 2511.19066, 2025
    Client:
        E epochs of SGD on CE(fused logits)
    Server:
        on each arrival, for the groups g that it trained:
            U_k,g   <- theta_k,g - theta_g^(v_k), the cache of client k
            theta_g <- theta_g + eta mean_{j in A_g} U_j,g, eta = alpha s(tau)
        A_g = all clients heard of that ever trained g (ACE), of these the ones whose cached update started from one of
        the last max_age versions (ACED)
    Payload:
        down: all groups of the modalities held; up: the groups trained, and n_k; the cache is the server's: N models
    Waits:
        clients wait for all modalities; the server for no client
    Staleness:
        tau = versions merged since the start version, of a cached update counted anew at every arrival; it bounds the
        age (max_age); s = 1 in the paper, others by server.staleness
    Limits:
        * one client: the model gains eta times every delta, FedBuff with K = 1
        * max_age: null: ACE; max_age: 0: only an update that is fresh when it arrives moves the model
        * every delta is added again at each arrival until its client returns: N times as often as by FedBuff with the
          same eta
        * CA2FL with a buffer of one adds the whole of what is new, Delta_k - h_k; ACE a share 1/N of it
    Reconstructed:
        * all but the abstract, from which both formulas follow in words; eta = 0.1
        * clients not heard of are left out of the mean, so nothing waits for a first update of all
        * A_g per group: a group that the arriving client did not train stays as it is
        * an arriving update that is older than max_age is cached and left out, too; where no other is young enough the
          group stays as it is
    """

    Options = ACEOptions
    options: ACEOptions

    def initial_memory(self, network: Network, num_clients: int) -> Cache:
        """Return an empty cache."""
        del network, num_clients
        return Cache()

    def advance(self, model: Parameters, memory: Cache, updates: Sequence[ClientUpdate]) -> tuple[Parameters, Cache]:
        """Return the model after a step along the mean of the cache with this update in it, and that cache."""
        (update,) = updates
        theta = pack(model)
        clients = dict(memory.clients)
        clients[update.client] = _cached(clients.get(update.client), update, memory.version, theta.layout)
        target = theta.flat.clone()
        for group in update.groups:
            columns = theta.layout.group_columns[group]
            rows = [cached.delta[columns] for cached in clients.values() if self._counts(cached, group, memory.version)]
            if rows:
                target[columns] += weighted_sum(rows, [1.0 / len(rows)] * len(rows))
        stepped = replace(update, parameters=Packed(theta.layout, target))
        return self.options.server.merge(model, [stepped]), Cache(memory.version + 1, clients)

    def _counts(self, cached: Cached, group: str, version: int) -> bool:
        """Return whether a client's cached update of a group is there and young enough."""
        max_age = self.options.max_age
        return group in cached.versions and (max_age is None or version - cached.versions[group] <= max_age)


def _cached(before: Cached | None, update: ClientUpdate, version: int, layout: Layout) -> Cached:
    """Return the cache of a client with its update in it; groups that it did not train now stay."""
    new = delta_of(update, layout)
    delta = torch.zeros_like(new) if before is None else before.delta.clone()
    for span in layout.spans(update.groups):
        delta[span] = new[span]
    started = dict.fromkeys(update.groups, version - update.staleness)
    return Cached(delta, started if before is None else {**before.versions, **started})
