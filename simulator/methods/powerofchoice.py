"""Power-of-Choice (pow-d): of some candidates, those with the largest loss train (Cho et al., 2020)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from pydantic import Field, PositiveInt, model_validator
from torch import Tensor

from interlude.models.network import Network, Parameters
from interlude.simulator.counts import ceil_product
from interlude.simulator.federation.client_day import ClientDay
from interlude.simulator.federation.dispatch import Role, Steps
from interlude.simulator.federation.rules import SizedBarrier
from interlude.simulator.federation.views import SelectionView
from interlude.simulator.methods.base import Method
from interlude.simulator.methods.options import MethodOptions
from interlude.simulator.methods.waiting import WAITING
from interlude.simulator.randomness import Stream
from interlude.simulator.training.merge import ClientUpdate
from interlude.simulator.training.objective import Batch, Context, CrossEntropy
from interlude.simulator.training.task import LocalSteps
from interlude.simulator.training.transfer import numbers
from interlude.simulator.training.values import Named, Values

_PROBE = "probe"
_LOSS = Named("loss")


class PowerOfChoiceOptions(MethodOptions):
    """Options of Power-of-Choice."""

    name: str = "pow-d"
    server: SizedBarrier = SizedBarrier(clients_per_round=5)
    candidates: PositiveInt = Field(10, description="d, clients asked for their loss; capped by those that are idle")
    candidate_weights: Literal["samples", "uniform"] = Field(
        "samples", description="candidates drawn by their number of samples, or all alike as in BMSFed's experiments"
    )

    @model_validator(mode="after")
    def _has_candidates_to_train(self) -> "PowerOfChoiceOptions":
        num_trained = ceil_product(self.server.clients_per_round, self.server.over_selection)
        if self.candidates < num_trained:
            raise ValueError(
                f"candidates must be at least the {num_trained} clients that a round sends out to train: these are "
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
        return {_LOSS: self.loss(network, parameters, window, context)}


class PowerOfChoice(Method):
    """Power-of-Choice (pow-d).

    Paper:
        Cho, Wang, Joshi, Client Selection in Federated Learning: Convergence Analysis and Power-of-Choice Selection
        Strategies, arXiv 2010.01243, 2020 (AISTATS 2022 as Towards Understanding Biased Client Selection in Federated
        Learning)
    Client:
        a candidate downloads w^t and uploads F_k(w^t) = CE(fused logits) over its window, no training; chosen: E epochs
        of SGD on CE
    Server:
        d candidates drawn without replacement, each time with probability n_k / sum_j n_j over those left; the K with
        the largest F_k train; theta_g <- sum_k n_k theta_k,g / sum_k n_k for every group g, over the clients that
        trained g
    Payload:
        as FedAvg for the K that train; extra: the model down to d candidates, one float (and n_k) up of each
    Waits:
        a round waits for the slowest candidate's answer (its data, a download, a forward pass, an upload), then for the
        slowest of the chosen
    Staleness:
        always 0: every update starts from the model it is merged into
    Limits:
        * d = K leaves nothing to choose, and no client is asked: FedAvg with clients drawn by n_k; d = K = N is FedAvg,
          number for number
    Reconstructed:
        * a probe is a local round of its own: it waits for a window of data, and the training that may follow downloads
          the model and waits for the next window
        * a candidate whose answer is lost ranks last; ties go to the lower client; one that is off when the last answer
          is there is not chosen
        * fewer idle clients than d: all of them are candidates
    """

    Options = PowerOfChoiceOptions
    options: PowerOfChoiceOptions

    def candidates(self, view: SelectionView, num_clients: int) -> Mapping[int, Role]:
        """Return the candidates to ask for their loss, where there is a choice to make."""
        drawn = self._draw(view, self.options.candidates)
        return dict.fromkeys(drawn, _PROBE) if len(drawn) > num_clients else {}

    def select(self, view: SelectionView, num_clients: int) -> Mapping[int, Role]:
        """Return the clients with the largest loss among those asked; at random where no loss is known."""
        losses: Mapping[int, Tensor] = view.memory
        if not view.asked:
            return dict.fromkeys(self._draw(view, num_clients))
        if not losses:
            shuffled = _stream(view, "pow-d-stand-in").permutation(view.asked)
            return dict.fromkeys(int(client) for client in shuffled[:num_clients])
        return dict.fromkeys(largest(view.asked, losses, num_clients))

    def client_round(self, client: ClientDay) -> Steps:
        """Answer a probe, or train."""
        if client.role != _PROBE:
            yield from super().client_round(client)
            return
        yield from client.download()
        waiting = WAITING["first" if self.options.waiting == "first" else "all"]
        ready = yield from waiting(client, self.options.unimodal_epochs)
        yield from client.train(LocalSteps(LossProbe(ready.modalities), 0, _PROBE))
        yield from client.upload()

    def initial_memory(self, network: Network, num_clients: int) -> dict[int, Tensor]:
        """Return the losses of the last probe: none yet."""
        del network, num_clients
        return {}

    def remember(self, memory: dict[int, Tensor], updates: Sequence[ClientUpdate]) -> dict[int, Tensor]:
        """Return the losses that were reported, 0-d each; as they were where these are no answers to a probe."""
        if updates and _LOSS not in updates[0].report:
            return memory
        return {update.client: update.report[_LOSS] for update in updates}

    def _draw(self, view: SelectionView, count: int) -> list[int]:
        """Return up to `count` of the idle clients, drawn as candidates are, in ascending order."""
        idle = np.array(view.idle, dtype=np.int64)
        shards = view.population.shards
        weights = np.ones(len(idle))
        if self.options.candidate_weights == "samples":
            weights = np.array([len(shards[client]) for client in idle], dtype=float)
        # The smallest of exponential times with rates n_k: successive draws in proportion to n_k, without replacement.
        waits = _stream(view, "pow-d").exponential(size=len(shards))[idle] / weights
        return sorted(int(client) for client in idle[np.argsort(waits, kind="stable")[:count]])


def largest(candidates: Sequence[int], losses: Mapping[int, Tensor], count: int) -> list[int]:
    """Return the `count` candidates with the largest loss (0-d each); those without one come last, ties as listed."""
    known = dict(zip(losses, numbers(losses.values()), strict=True))
    return sorted(candidates, key=lambda client: known.get(client, -np.inf), reverse=True)[:count]


def _stream(view: SelectionView, purpose: str) -> np.random.Generator:
    """Return the generator of this moment's choice."""
    return Stream(view.seed, purpose).generator(view.version, view.num_returned)
