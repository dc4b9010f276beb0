"""A client's day: the verbs in which a method writes down one local round of one client.

Every verb returns the spans that it takes, used as ``yield from client.download()``. A day states what the client
intends to do; `federation.journey` decides the outcome and advances the client's time. Durations come from the world's
model; the result of training is a future.

A day is simulated ahead of the clock but for meetings: at one, the clock first comes up to the client's time, so that
what other clients and the server did until then can reach it. `refresh` and `train_until_notice` meet.
"""

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import inf
from typing import Any, Final, NamedTuple

from interlude.models.network import Network, Parameters
from interlude.simulator.arrays import Indices
from interlude.simulator.federation.clock import delay_s
from interlude.simulator.federation.timeline import Activity
from interlude.simulator.randomness import Stream
from interlude.simulator.training.executors.future import Future
from interlude.simulator.training.merge import Holders
from interlude.simulator.training.objective import Objective
from interlude.simulator.training.profile.costs import CostModel, TaskCost
from interlude.simulator.training.spec import TrainingSpec
from interlude.simulator.training.task import LocalSteps, Task, Trained, window_samples
from interlude.simulator.training.values import Values
from interlude.simulator.world.world import World

Role = Any
"""A client's role in one local round, chosen by the method; None for an ordinary client."""

NO_WEIGHTS: Final[tuple[str, ...]] = ()
"""The groups of a download without parameters: only the broadcast."""

_SAMPLE_COUNT_BYTES = 8  # every upload carries its number of training samples
_NOTICE_BYTES = 8  # an urgent notice; it takes its time in the link, and counts for nothing else


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
        held = [len(shard) for shard in self.population.shards]
        return [min(num_held, self.training.window_samples or num_held) for num_held in held]

    @cached_property
    def holders(self) -> Mapping[str, Holders]:
        """The clients that hold each group."""
        by_held: dict[tuple[str, ...], list[int]] = {}
        for held, num_samples in zip(self.population.modalities, self.num_window_samples, strict=True):
            by_held.setdefault(held, []).append(num_samples)
        holders: dict[str, Holders] = {}
        for held, counts in by_held.items():
            for group in self.network.groups_of(held):
                others = holders.get(group, Holders(0, 0))
                holders[group] = Holders(others.num_clients + len(counts), others.num_samples + sum(counts))
        return holders

    @cached_property
    def download_bytes(self) -> Mapping[tuple[str, ...], int]:
        """Payload of a full download by the modalities that a client holds."""
        network = self.network
        held = set(self.population.modalities)
        return {m: network.num_bytes(network.groups_of(m)) + self.broadcast_bytes for m in held}


@dataclass(slots=True, eq=False)
class Dispatch:
    """One client in one local round. Mutable: its time advances, and a resumed run restores what it received."""

    client: int
    window: int
    """Index of the client's window, which also addresses the round's random draws."""
    version: int
    """Version of the global model that the client downloads."""
    role: Role
    start_s: float
    received: Parameters
    """The model that the client downloads."""
    start: Parameters
    """Where its training starts: at that model, unless the client has parameters of its own."""
    broadcast: Values
    """The values that the server sends with the model, and those that the client has of its own."""
    fresh: Parameters | None = None
    """The model that the client downloaded in mid-round; None until it does."""
    latest_version: int = 0
    """The version that it downloaded last."""
    noticed_s: float = inf
    """When the server's urgent notice reaches the client, in simulated seconds; infinite without one."""
    mean_round_s: float = 0.0
    """Mean simulated seconds of the client's local rounds before this one; 0 in its first."""
    now_s: float = 0.0
    """The client's own time in simulated seconds, ahead of the clock while its day is simulated."""

    def __post_init__(self) -> None:
        self.now_s = self.start_s
        self.latest_version = self.version


class Download(NamedTuple):
    """What the server sends a client, as it is at one moment."""

    version: int
    model: Parameters
    broadcast: Values


class Payload(NamedTuple):
    """Content of an upload besides the last task's report and the number of samples."""

    groups: tuple[str, ...] | None = None
    """The parameter groups; unset: all that were trained in this local round."""
    num_bytes: int | None = None
    """Their encoded size in bytes; unset: dense."""
    message: Any = None
    """Plain values that the client tells the server at no bytes, by its role or its clock, never by trained values."""
    has_report: bool = True
    """Whether the report is sent; otherwise the client keeps it, and the server's memory only stands for that."""


ALL_TRAINED: Final = Payload()
"""An upload of every group that was trained, dense."""

NO_REPORT: Final = Payload(has_report=False)
"""An upload of every group that was trained; the report stays with the client, for its next local round."""

REPORT_ONLY: Final = Payload(num_bytes=0)
"""An upload of the report alone; the trained groups stay with the client."""


class PendingUpdate(NamedTuple):
    """An update as it arrives at the server; its values are computed when a merge needs them."""

    client: int
    version: int
    """The version that the client had received."""
    groups: tuple[str, ...]
    """The parameter groups sent: those that were trained."""
    num_samples: int
    trained: Future[Trained]
    num_bytes: int
    """The payload that arrived."""
    message: Any = None
    """What the client told besides."""


class Span(NamedTuple):
    """An activity on which a client intends to spend simulated time."""

    activity: Activity
    duration_s: float
    """Its undisturbed duration in simulated seconds."""
    modality: str | None = None
    """The modality waited for or trained alone; several are joined by '+'."""
    num_bytes: int = 0
    flops: int = 0
    is_slow: bool = False
    """Whether it is training in a straggler's slow mode."""
    update: PendingUpdate | None = None
    """The update that has arrived at the server once the span is over."""
    version: int | None = None
    """The model version that it works from; unset: that of the dispatch."""


MEETING: Final = Span("wait", 0.0)
"""Stands in a day where the clock must come up to the client's time; itself it takes no time and is not noted."""

Steps = Iterable[Span]
"""A day: yields spans in order; `Dispatch.now_s` is set to the end of each before the next is requested."""

Submit = Callable[[Task], Future[Trained]]

Ask = Callable[[Dispatch], Download]
"""What the server sends a client that asks for the global model now."""


class ClientDay:
    """One local round of one client, as its method sees it.

    Args:
        setting: what all clients of the run share.
        dispatch: which client, which window, from which version.
        submit: receives the training tasks of the day.
        ask: answers a download in mid-round.
    """

    __slots__ = (
        "_ask",
        "_dispatch",
        "_groups",
        "_local_steps",
        "_report_bytes",
        "_s_per_flop",
        "_setting",
        "_submit",
        "_trained",
        "arrivals_s",
        "client",
        "network",
        "num_samples",
        "role",
        "version",
    )

    def __init__(self, setting: Setting, dispatch: Dispatch, submit: Submit, ask: Ask) -> None:
        self._setting = setting
        self._dispatch = dispatch
        self._submit = submit
        self._ask = ask
        self.client = client = dispatch.client
        self.version = dispatch.version
        self.role = dispatch.role
        self.network: Network = setting.network
        self.num_samples = setting.num_window_samples[client]
        """Samples of the window."""
        world, held = setting.world, setting.population.modalities[client]
        self.arrivals_s: Mapping[str, float] = world.arrivals_s(
            client, dispatch.window, dispatch.start_s, self.num_samples, held
        )
        """Arrival of each modality of the window, in the data set's order; one that misses is left out."""
        self._s_per_flop = world.devices.s_per_flop(client, dispatch.window)
        self._groups: tuple[str, ...] = ()
        self._local_steps: tuple[LocalSteps, ...] = ()
        self._report_bytes = 0
        self._trained: Future[Trained] | None = None

    @property
    def now_s(self) -> float:
        """The client's own time in simulated seconds."""
        return self._dispatch.now_s

    @property
    def mean_round_s(self) -> float:
        """Mean simulated seconds of the client's local rounds before this one; 0 in its first."""
        return self._dispatch.mean_round_s

    @property
    def modalities(self) -> tuple[str, ...]:
        """The modalities of this round's window, in the data set's order."""
        return tuple(self.arrivals_s)

    @property
    def broadcast(self) -> Values:
        """The values that the server sent with the model last, and those that the client has of its own.

        A resumed run restores these and the tasks, and nothing else that a day made of values: a day that goes on after
        `refresh` reads them afterwards.
        """
        return self._dispatch.broadcast

    @property
    def latest_version(self) -> int:
        """The version that the client downloaded last; `version` is that of the dispatch."""
        return self._dispatch.latest_version

    @property
    def held(self) -> tuple[str, ...]:
        """The modalities that the client holds, those included that miss in this round."""
        return self._setting.population.modalities[self.client]

    @property
    def step_lengths(self) -> dict[str, float]:
        """The learning rates, summed, of the optimiser steps that have trained each group in this local round."""
        setting = self._setting
        rate = setting.training.optimizer.rate_at(self.version)
        lengths: dict[str, float] = {}
        for steps in self._local_steps:
            for group in steps.objective.groups(setting.network):
                lengths[group] = lengths.get(group, 0.0) + rate * steps.learning_rate_scale * steps.num_steps
        return lengths

    @property
    def trains_apart(self) -> bool:
        """Whether a modality misses so that the others are trained each alone."""
        setting = self._setting
        if not setting.may_train_apart:
            return False
        return setting.world.trains_apart(setting.population.modalities[self.client], self.arrivals_s)

    def without(self, modality: str | None) -> "ClientDay":
        """Return a fresh day of the same client with one modality left out; None leaves out none."""
        day = copy.copy(self)
        day.arrivals_s = {m: at_s for m, at_s in self.arrivals_s.items() if m != modality}
        return day

    def uniform(self, purpose: str, *, is_fixed: bool = False) -> float:
        """Return a random number in (0, 1) for a purpose of the method's own: this round's, or the client's fixed."""
        stream = Stream(self._setting.seed, purpose, self.client)
        return float((stream.generator() if is_fixed else stream.generator(self._dispatch.window)).random())

    def num_steps(self, epochs: int | None = None) -> int:
        """Return the mini-batches of some passes over the window; unset: the scenario's local epochs."""
        setting = self._setting
        epochs = setting.training.local_epochs if epochs is None else epochs
        return setting.costs.num_steps(self.num_samples, epochs)

    def overhead_s(self) -> float:
        """Return the fixed seconds of a training task at this client."""
        return self._setting.world.devices.overhead_s(self.client)

    def step_s(self, objective: Objective, step: int) -> float:
        """Return the seconds that the `step`-th mini-batch of an objective takes."""
        costs = self._setting.costs
        return costs.step_flops(objective, costs.batch_samples(step, self.num_samples)) * self._s_per_flop

    def training_s(self, *steps: LocalSteps) -> float:
        """Return the undisturbed seconds that a training takes."""
        cost = self._setting.costs.of_task(steps, self.num_samples)
        return self.overhead_s() + cost.flops * self._s_per_flop

    def upload_s(self, num_bytes: int) -> float:
        """Return the undisturbed seconds that an upload of groups of so many bytes takes, without a report."""
        links = self._setting.world.links
        return links.transfer_s(self.client, "up", num_bytes + _SAMPLE_COUNT_BYTES, self._dispatch.window)

    def download(self, groups: tuple[str, ...] | None = None, num_bytes: int | None = None) -> Iterable[Span]:
        """Receive the global model as it was at dispatch.

        Args:
            groups: the parameter groups that are sent, if the client has the others already; unset: all groups of
                the client's modalities.
            num_bytes: size of what is sent instead of a model, in bytes; unset: a model is sent.
        """
        return (self._download(groups, num_bytes, None),)

    def refresh(self, groups: tuple[str, ...] | None = None) -> Iterator[Span]:
        """Download the global model in mid-round, as it is when the client asks for it.

        Training after it sees this model as the received one; `ClientUpdate.start` and staleness remain those of the
        dispatch.

        Args:
            groups: the parameter groups that are sent; unset: all groups of the client's modalities.
        """
        yield MEETING
        dispatch = self._dispatch
        dispatch.latest_version, dispatch.fresh, dispatch.broadcast = self._ask(dispatch)
        yield self._download(groups, None, dispatch.latest_version)

    def _download(self, groups: tuple[str, ...] | None, num_bytes: int | None, version: int | None) -> Span:
        setting, client = self._setting, self.client
        if num_bytes is None:
            num_bytes = (
                setting.download_bytes[setting.population.modalities[client]]
                if groups is None
                else setting.network.num_bytes(groups) + setting.broadcast_bytes
            )
        duration_s = setting.world.links.transfer_s(client, "down", num_bytes, self._dispatch.window)
        return Span("download", duration_s, None, num_bytes, version=version)

    def wait_for(self, modality: str) -> Iterable[Span]:
        """Wait until a modality has arrived; no time passes if it has."""
        at_s, now_s = self.arrivals_s[modality], self._dispatch.now_s
        return (Span("wait", delay_s(now_s, at_s), modality),) if at_s > now_s else ()

    def train(
        self, *steps: LocalSteps, activity: Activity = "train", broadcast: Values | None = None
    ) -> Iterable[Span]:
        """Train from the client's parameters: where its training starts, or the result of its last training.

        Steps that cost no FLOPs take no time: they only take up what the client has, to be uploaded.

        Args:
            steps: optimiser steps, in order.
            activity: its name in the timeline, ``train`` or ``train_unimodal``.
            broadcast: values that replace `broadcast` for the objective; unset: those.
        """
        cost = self._setting.costs.of_task(steps, self.num_samples)
        self._begin(steps, cost, broadcast)
        if cost.flops == 0:
            return ()
        return (self._training(activity, cost.modality, cost.flops, self.overhead_s()),)

    def train_until_notice(self, *steps: LocalSteps) -> Iterator[Span]:
        """Train as `train` does, but no longer than the pass over the window in which an urgent notice arrives.

        Args:
            steps: optimiser steps, in order; all of them without a notice.
        """
        setting, dispatch = self._setting, self._dispatch
        flops, overhead_s = 0, self.overhead_s()
        for done in _passes(steps, self.num_steps(1)):
            if flops:
                yield MEETING
                if dispatch.noticed_s <= dispatch.now_s:
                    break
            made, cost = done, setting.costs.of_task(done, self.num_samples)
            yield self._training("train", cost.modality, cost.flops - flops, overhead_s)
            flops, overhead_s = cost.flops, 0.0
        self._begin(made, cost, None)

    def _training(self, activity: Activity, modality: str, flops: int, overhead_s: float) -> Span:
        devices, client, window = self._setting.world.devices, self.client, self._dispatch.window
        duration_s = overhead_s + flops * self._s_per_flop
        return Span(activity, duration_s, modality, 0, flops, devices.is_slow(client, window))

    def _begin(self, steps: tuple[LocalSteps, ...], cost: TaskCost, broadcast: Values | None) -> None:
        """Submit a task."""
        setting, dispatch = self._setting, self._dispatch
        client, window = self.client, dispatch.window
        self._trained = self._submit(
            Task(
                client=client,
                window=window,
                version=self.version,
                local_steps=steps,
                samples=window_samples(setting.population.shards[client], window, setting.training.window_samples),
                start=dispatch.start if self._trained is None else self._trained,
                received=dispatch.received,
                broadcast=dispatch.broadcast if broadcast is None else broadcast,
                fresh=dispatch.fresh,
            )
        )
        self._report_bytes = cost.report_bytes
        self._local_steps += steps
        if cost.groups != self._groups:
            self._groups = tuple(dict.fromkeys((*self._groups, *cost.groups)))

    def upload(self, payload: Payload = ALL_TRAINED) -> Iterable[Span]:
        """Send the result of the last training, with its report.

        Args:
            payload: the groups and their size; unset: all groups trained in this round, dense.
        """
        assert self._trained is not None, "an upload needs a training before it"
        setting = self._setting
        groups = self._groups if payload.groups is None else payload.groups
        num_bytes = setting.network.num_bytes(groups) if payload.num_bytes is None else payload.num_bytes
        num_bytes += (self._report_bytes if payload.has_report else 0) + _SAMPLE_COUNT_BYTES
        duration_s = setting.world.links.transfer_s(self.client, "up", num_bytes, self._dispatch.window)
        update = PendingUpdate(
            self.client, self.version, groups, self.num_samples, self._trained, num_bytes, payload.message
        )
        return (Span("upload", duration_s, None, num_bytes, 0, False, update),)


def notice_s(setting: Setting, dispatch: Dispatch) -> float:
    """Return the seconds that an urgent notice takes to a client."""
    return setting.world.links.transfer_s(dispatch.client, "down", _NOTICE_BYTES, dispatch.window)


def _passes(steps: tuple[LocalSteps, ...], per_pass: int) -> Iterator[tuple[LocalSteps, ...]]:
    """Yield the beginnings of local steps that end with a pass over the window, the whole of them last."""
    for position, one in enumerate(steps):
        stop = one.first_step + one.num_steps
        for end in (*range((one.first_step // per_pass + 1) * per_pass, stop, per_pass), stop):
            yield (*steps[:position], one._replace(num_steps=end - one.first_step))
