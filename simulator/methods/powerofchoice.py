"""Power-of-Choice (pow-d): of some candidates, those with the largest loss train.

Cho, Wang, Joshi, "Client Selection in Federated Learning: Convergence Analysis and Power-of-Choice Selection
Strategies", arXiv 2010.01243, 2020 (AISTATS 2022 as "Towards Understanding Biased Client Selection in Federated
Learning").

    draw d candidates without replacement, each time with probability n_k / sum_j n_j over those left
    every candidate downloads w^t and uploads F_k(w^t);  the K with the largest F_k train
    server   theta <- sum_k n_k theta_k / sum_k n_k

With d = K there is nothing to choose and nobody is asked: FedAvg with clients drawn by their number of samples.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from pydantic import Field, PositiveInt, model_validator
from torch import Tensor

from interlude.models.network import Network, Parameters
from interlude.simulator.federation.client_day import LocalRound, Steps
from interlude.simulator.federation.rules import Barrier, ServerRule, gather
from interlude.simulator.federation.server import Choosing, Server
from interlude.simulator.methods.base import Method, MethodOptions
from interlude.simulator.methods.card import FormulaCard
from interlude.simulator.methods.waiting import WAITING
from interlude.simulator.randomness import Stream
from interlude.simulator.training.evaluation import FUSED
from interlude.simulator.training.merge import ClientUpdate
from interlude.simulator.training.objective import Batch, Context, CrossEntropy, Values
from interlude.simulator.training.task import LocalSteps

_PROBE = "probe"


class PowerOfChoiceOptions(MethodOptions):
    """Options of Power-of-Choice."""

    name: Literal["pow-d"] = "pow-d"
    server: ServerRule = Barrier(clients_per_round=5)
    candidates: PositiveInt = Field(10, description="d, clients asked for their loss; capped by those that are idle")
    candidate_weights: Literal["samples", "uniform"] = Field(
        "samples", description="candidates drawn by their number of samples, or all alike as in BMSFed's experiments"
    )

    @model_validator(mode="after")
    def _has_rounds(self) -> "PowerOfChoiceOptions":
        if not isinstance(self.server, Barrier) or self.server.clients_per_round is None:
            raise ValueError(
                "pow-d chooses clients for a round, so its server must be {rule: barrier, clients_per_round: K}"
            )
        num_trained = math.ceil(self.server.clients_per_round * self.server.over_selection)
        if self.candidates < num_trained:
            raise ValueError(
                f"candidates must be at least the {num_trained} clients that a round sends out to train: those are "
                "chosen among them"
            )
        return self


@dataclass(frozen=True)
class LossProbe(CrossEntropy):
    """Trains nothing and reports the mean cross-entropy over the window."""

    def groups(self, network: Network) -> tuple[str, ...]:
        """Return nothing: no group is trained or sent."""
        del network
        return ()

    def report(self, network: Network, parameters: Parameters, window: Batch, context: Context) -> Values:
        """Return F_k(w^t) over the window."""
        return {"loss": {FUSED: self.loss(network, parameters, window, context)}}


class PowerOfChoice(Method):
    """FedAvg with candidates that are asked for their loss."""

    Options = PowerOfChoiceOptions
    options: PowerOfChoiceOptions
    card = FormulaCard(
        title="Power-of-Choice (pow-d)",
        paper="Cho, Wang, Joshi, Client Selection in Federated Learning: Convergence Analysis and Power-of-Choice "
        "Selection Strategies, arXiv 2010.01243, 2020",
        client="a candidate: F_k(w^t) = CE(fused logits) over its window, no training; chosen: E epochs of SGD on CE",
        server="d candidates drawn without replacement with probability ~ n_k; the K largest F_k train; theta_g <- "
        "sum_k n_k theta_k,g / sum_k n_k for every group g, over the clients that trained g",
        payload="as FedAvg for the K that train; extra: the model down to d candidates, one float (and n_k) up of each",
        waits="a round waits for the slowest candidate's answer (its data, a download, a forward pass, an upload), "
        "then for the slowest of the chosen",
        staleness="always 0: every update starts from the model it is merged into",
        reconstructed=(
            "a probe is a local round of its own: it waits for a window of data, and the training that may follow "
            "downloads the model and waits for the next window",
            "a candidate whose answer is lost ranks last; ties go to the lower client",
            "fewer idle clients than d: all of them are candidates",
        ),
        limits=("d = K asks nobody: FedAvg with clients drawn by n_k; d = K = N is FedAvg, number for number",),
    )

    def choose(self, server: Server, num_clients: int) -> Choosing:
        """Take the clients with the largest loss among the candidates, once these have answered."""
        candidates = self._draw(server)
        if len(candidates) > num_clients:
            server.dispatch(server.take(dict.fromkeys(candidates, _PROBE)))
            server.learn((yield from gather(server, candidates)))
            losses: Mapping[int, Tensor] = server.memory

            def by_loss() -> list[int]:
                return largest(candidates, losses, num_clients)

            def at_random() -> list[int]:
                return [int(c) for c in _stream(server, "pow-d-stand-in").permutation(candidates)[:num_clients]]

            candidates = server.executor.decide(by_loss, otherwise=at_random)
        return server.take(dict.fromkeys(candidates))

    def client_round(self, client: LocalRound) -> Steps:
        """Answer a probe, or train."""
        if client.role != _PROBE:
            yield from super().client_round(client)
            return
        model = yield from client.download()
        waiting = WAITING["first" if self.options.waiting == "first" else "all"]
        ready = yield from waiting(client, model, self.options.unimodal_epochs)
        answer = yield from client.train(LocalSteps(LossProbe(ready.modalities), 0, _PROBE), start=model)
        yield from client.upload(answer)

    def initial_memory(self, network: Network, num_clients: int) -> dict[int, Tensor]:
        """Return the losses of the last probe: none yet."""
        del network, num_clients
        return {}

    def learn(self, memory: dict[int, Tensor], updates: Sequence[ClientUpdate]) -> dict[int, Tensor]:
        """Return the candidates' losses, 0-d each."""
        del memory
        return {update.client: update.report["loss"][FUSED] for update in updates}

    def _draw(self, server: Server) -> list[int]:
        """Return the candidates among the idle clients, in ascending order."""
        idle = np.sort(np.fromiter(server.idle, dtype=np.int64))
        weights = np.ones(len(idle))
        if self.options.candidate_weights == "samples":
            weights = np.array([len(server.population.shards[client]) for client in idle], dtype=float)
        # The smallest of exponential times with rates n_k: successive draws in proportion to n_k, without replacement.
        waits = _stream(server, "pow-d").exponential(size=server.num_clients)[idle] / weights
        return sorted(int(client) for client in idle[np.argsort(waits, kind="stable")[: self.options.candidates]])


def largest(candidates: Sequence[int], losses: Mapping[int, Tensor], count: int) -> list[int]:
    """Return the `count` candidates with the largest loss (0-d each); those without one come last, ties as listed."""
    known = {client: float(loss) for client, loss in losses.items()}
    return sorted(candidates, key=lambda client: known.get(client, -np.inf), reverse=True)[:count]


def _stream(server: Server, purpose: str) -> np.random.Generator:
    """Return the generator of this moment's choice."""
    return Stream(server.seed, purpose).generator(server.version, server.num_returned)
