"""TimelyFL: every client of a round trains as much of the model as it can in the time that the round has.

Zhang et al., 2023.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import Field, PositiveInt, model_validator

from interlude.models.network import Network, Parameters
from interlude.simulator.counts import ceil_product
from interlude.simulator.federation.client_day import ClientDay
from interlude.simulator.federation.dispatch import Payload, PendingUpdate, Steps
from interlude.simulator.federation.rules import Barrier, gather
from interlude.simulator.federation.views import Process, ServerView
from interlude.simulator.methods.base import Method
from interlude.simulator.methods.options import MethodOptions
from interlude.simulator.methods.waiting import WAITING, Ready
from interlude.simulator.training.merge import ClientUpdate, weighted_sum
from interlude.simulator.training.objective import CrossEntropy
from interlude.simulator.training.task import LocalSteps

_NUMBER_BYTES = 8
_ROUNDING = 1e-9  # of a duration: sums of the same seconds in another order are equal


class TimelyFLOptions(MethodOptions):
    """Options of TimelyFL."""

    name: str = "timelyfl"
    waiting: Literal["all", "first"] = Field("all", description="what a client does until its modalities are there")
    server: Barrier = Field(Barrier(), description="n clients per round; its end is the method's own")
    target: float = Field(0.5, gt=0, le=1, description="share of a round's clients whose whole rounds end in time")
    most_epochs: PositiveInt = Field(10, description="most times that a fast client repeats its local epochs")

    @model_validator(mode="after")
    def _ends_rounds_itself(self) -> "TimelyFLOptions":
        if self.server.over_selection > 1.0 or self.server.deadline_s is not None:
            raise ValueError("TimelyFL ends its rounds itself: no server.over_selection, no server.deadline_s")
        return self


@dataclass(frozen=True)
class OutputSide(CrossEntropy):
    """Cross-entropy that trains the head and the last layers of every encoder; the first ones stand still."""

    num_frozen: int
    num_layers: int
    """Of so many layers of the deepest encoder so many stand still; of the others as large a share, rounded down."""

    def groups(self, network: Network) -> tuple[str, ...]:
        """Return the groups of which something is trained."""
        trained = set(self.trained(network))
        return tuple(group for group in super().groups(network) if not trained.isdisjoint(network.groups[group]))

    def trained(self, network: Network) -> tuple[str, ...]:
        """Return the parameters of the head and of the encoders' last layers."""
        frozen: set[str] = set()
        for modality in self.modalities:
            layers = layers_of(network, modality)
            for layer in layers[: len(layers) * self.num_frozen // self.num_layers]:
                frozen |= set(layer)
        names = (name for group in super().groups(network) for name in network.groups[group])
        return tuple(name for name in names if name not in frozen)


class TimelyFL(Method):
    """TimelyFL: adaptive partial training.

    Paper:
        Zhang, Gao, Lee, Zhang, Avestimehr, TimelyFL: Heterogeneity-aware Asynchronous Federated Learning with
        Adaptive Partial Training, CVPR Workshops 2023 (arXiv 2304.06947)
    Client:
        first one mini-batch, which with the links' times gives the estimate t_k of a whole round: download, waiting
        for data, one training of all layers, upload. Then, once its data are there,
            fast    E_k = max(floor(time left for training / time of one), 1) trainings, at most most_epochs
            slow    one training of as many of the last layers as fit, if not even one of all does; the
                    first ones are frozen: no backward pass through them, no upload of them
        each E local epochs of SGD on CE(fused logits). The head is always trained; of the encoders equal shares of the
        layers are frozen.
    Server:
        of n sampled clients T = the k-th smallest t_k, k = target n; updates that are there T after the start merge:
        theta_l <- sum_k n_k theta_k,l / sum_k n_k for every parameter l, over the clients that trained l
    Payload:
        down 8 bytes of question, up 8 of estimate; down all groups of the modalities held, and T, which is not counted;
        up the parameters trained, and n_k
    Waits:
        clients for their modalities (waiting: all, first); the server for all estimates, then for all clients, or T
        long; a client that is late is dropped, but for the first where none is in time
    Staleness:
        always 0: late updates never merge
    Limits:
        * target = 1, most_epochs = 1: FedAvg, preceded by a mini-batch at every client
        * equal clients, whose rounds are as long as estimated: all train everything
        * a client that is late with the head alone is dropped, as are many where waiting for data varies more than
          training takes
    Reconstructed:
        * from the abstract and known formulas; in the paper the share of layers is a_k = min(T / t_k, 1), and times are
          taken to shrink with a_k; here a forward pass is paid whole and a backward pass down to the first layer
          trained, and the share is the largest that ends in time by these costs
        * waiting for data counts into t_k, and is estimated by that of the window at hand
        * a probe takes neither a model nor new data, and is a local round of its own; target = 0.5; most_epochs,
          without which a client whose training is short beside its waiting would train without end
        * means of models, n_k-weighted; no server optimiser
    """

    Options = TimelyFLOptions
    options: TimelyFLOptions

    def client_round(self, client: ClientDay) -> Steps:
        """Estimate, or train what ends in time: with T in seconds for a role, from the dispatch to the return."""
        if client.role is None:
            yield from self._probe(client)
            return
        end_s = client.now_s + client.role * (1.0 + _ROUNDING)
        yield from client.download()
        ready = yield from WAITING[self.options.waiting](client, self.options.unimodal_epochs)
        steps = self._in_time(client, ready, end_s - client.now_s)
        yield from client.train(*steps, activity="train_unimodal" if client.trains_apart else "train")
        names = trained_names(client.network, steps)
        groups = tuple(dict.fromkeys(group for one in steps for group in one.objective.groups(client.network)))
        yield from client.upload(Payload(groups, num_bytes(client.network, names), names))

    def serve(self, server: ServerView) -> Process[None]:
        """Run rounds for ever."""
        needed = min(self.options.server.clients_per_round or server.num_clients, server.num_clients)
        while True:
            while not server.fleet.idle:
                yield from server.receive(server.fleet.next_online_event())
            estimates = yield from gather(server, (yield from server.send(needed)))
            in_time_s = self._deadline_s(estimates)
            plans = {e.client: in_time_s for e in estimates if e.client in server.fleet.idle}
            server.dispatch(plans)
            updates = yield from gather(server, plans, deadline_s=in_time_s * (1.0 + 2.0 * _ROUNDING))
            if updates:
                server.merge(updates)

    def merge(self, model: Parameters, memory: None, updates: Sequence[ClientUpdate]) -> Parameters:
        """Return the n_k-weighted mean of every parameter over the updates that trained it."""
        merged = dict(model)
        for name, value in model.items():
            holders = [update for update in updates if name in update.message]
            if holders:
                total = sum(update.num_samples for update in holders)
                rows = [update.parameters[name].flatten() for update in holders]
                merged[name] = weighted_sum(rows, [update.num_samples / total for update in holders]).view_as(value)
        return merged

    def _probe(self, client: ClientDay) -> Steps:
        """Train on one mini-batch, and tell the server how long a whole round takes."""
        start_s = client.now_s
        yield from client.download(num_bytes=_NUMBER_BYTES)
        waits_for = max if self.options.waiting == "all" else min
        wait_s = waits_for(client.arrivals_s.values()) - start_s
        whole = self._steps(client, Ready(client.modalities), 1, 0)
        whole_s = max(client.download_s(), wait_s) + client.training_s(*whole) + _upload_s(client, whole)
        yield from client.train(LocalSteps(CrossEntropy(client.modalities), 1, "probe"))
        yield from client.upload(Payload((), _NUMBER_BYTES, float(whole_s)))

    def _deadline_s(self, estimates: Sequence[PendingUpdate]) -> float:
        """Return T, the k-th smallest estimate; 0 if there is none."""
        sorted_s = sorted(estimate.message for estimate in estimates)
        return sorted_s[ceil_product(len(sorted_s), self.options.target) - 1] if sorted_s else 0.0

    def _in_time(self, client: ClientDay, ready: Ready, left_s: float) -> tuple[LocalSteps, ...]:
        """Return the training of as much as ends in time, upload included; of the head alone if nothing does."""
        whole = self._steps(client, ready, 1, 0)
        overhead_s = client.overhead_s()
        training_s = client.training_s(*whole) - overhead_s
        for_training_s = left_s - overhead_s - _upload_s(client, whole)
        if training_s <= for_training_s:
            most = self.options.most_epochs
            fits = most if training_s * most <= for_training_s else int(for_training_s // training_s)
            return self._steps(client, ready, fits, 0)
        steps = whole
        for num_frozen in range(1, depth_of(client.network) + 1):
            steps = self._steps(client, ready, 1, num_frozen)
            if client.training_s(*steps) + _upload_s(client, steps) <= left_s:
                break
        return steps

    def _steps(self, client: ClientDay, ready: Ready, epochs: int, num_frozen: int) -> tuple[LocalSteps, ...]:
        """Return some times the scenario's local epochs, with some layers frozen."""
        together = (
            {f"alone-{m}": (m,) for m in ready.modalities} if client.trains_apart else {"joint": ready.modalities}
        )
        depth, num_steps = depth_of(client.network), epochs * client.num_steps()
        return tuple(
            LocalSteps(OutputSide(modalities, num_frozen, depth), num_steps, phase, proximal=self.proximal)
            for phase, modalities in together.items()
        )


def layers_of(network: Network, modality: str) -> list[list[str]]:
    """Return the parameters of each layer of an encoder, in the network's order."""
    layers: dict[str, list[str]] = {}
    for name in network.groups[network.encoder_group(modality)]:
        layers.setdefault(name.rpartition(".")[0], []).append(name)
    return list(layers.values())


def depth_of(network: Network) -> int:
    """Return the number of layers of the deepest encoder."""
    return max(len(layers_of(network, modality)) for modality in network.modalities)


def trained_names(network: Network, steps: Sequence[LocalSteps]) -> tuple[str, ...]:
    """Return the parameters that steps train."""
    return tuple(dict.fromkeys(name for one in steps for name in one.objective.trained(network)))


def num_bytes(network: Network, names: Sequence[str]) -> int:
    """Return the dense payload of parameters."""
    return sum(network.shapes[name].numel() * network.shapes[name].itemsize for name in names)


def _upload_s(client: ClientDay, steps: Sequence[LocalSteps]) -> float:
    return client.upload_s(num_bytes(client.network, trained_names(client.network, steps)))
