"""A client's day: the verbs in which a method writes down one local round of one client.

Every verb returns the spans that it takes, used at once, as ``yield from client.download()``. A day states what the
client intends to do; `federation.journey` decides the outcome and advances the client's time, but where nothing can
interrupt a day the verb does both itself (`federation.undisturbed_day`): what would take how long is for `download_s`,
`training_s` and `upload_s` to say, not for verbs. Durations come from the world's model; the result of training is a
future.

A day is simulated ahead of the clock but for meetings: at one, the clock first comes up to the client's time, so that
what other clients and the server did until then can reach it. `refresh` and `train_until_notice` meet.
"""

import copy
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from interlude.models.network import Network
from interlude.simulator.federation.clock import delay_s
from interlude.simulator.federation.dispatch import (
    ALL_TRAINED,
    MEETING,
    Ask,
    Dispatch,
    Payload,
    PendingUpdate,
    Span,
    Submit,
)
from interlude.simulator.federation.setting import Setting
from interlude.simulator.federation.timeline import Activity
from interlude.simulator.randomness import Stream
from interlude.simulator.training.executors.future import Future
from interlude.simulator.training.executors.timing_only import UNTRAINED
from interlude.simulator.training.objective import Objective
from interlude.simulator.training.profile.costs import TaskCost
from interlude.simulator.training.task import LocalSteps, Task, Trained, window_samples
from interlude.simulator.training.values import Values

_SAMPLE_COUNT_BYTES = 8  # every upload carries its number of training samples
_NOTICE_BYTES = 8  # an urgent notice; it takes its time in the link, and counts for nothing else


class ClientDay:
    """One local round of one client, as its method sees it.

    Args:
        setting: what all clients of the run share.
        dispatch: which client, which window, from which version.
        submit: receives the training tasks of the day; None: nothing is trained, and no task is made.
        ask: answers a download in mid-round.
    """

    __slots__ = (
        "_ask",
        "_dispatch",
        "_groups",
        "_local_steps",
        "_overhead_s",
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

    def __init__(self, setting: Setting, dispatch: Dispatch, submit: Submit | None, ask: Ask) -> None:
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
        devices = world.devices
        self._s_per_flop = s_per_flop = devices.s_per_flop(client, dispatch.window)
        self._overhead_s = devices.overhead_s(client) + devices.task_flops * s_per_flop
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
        return self._overhead_s

    def step_s(self, objective: Objective, step: int) -> float:
        """Return the seconds that the `step`-th mini-batch of an objective takes."""
        costs = self._setting.costs
        return self._work_s(*costs.step(objective, costs.batch_samples(step, self.num_samples)))

    def training_s(self, *steps: LocalSteps) -> float:
        """Return the undisturbed seconds that a training takes."""
        cost = self._setting.costs.of_task(steps, self.num_samples)
        return self.overhead_s() + self._work_s(cost.flops, cost.operations)

    def _work_s(self, flops: int, operations: int) -> float:
        return (flops + self._setting.world.devices.operation_flops * operations) * self._s_per_flop

    def download_s(self) -> float:
        """Return the undisturbed seconds that a download of all groups of the client's modalities takes."""
        return self._transfer_down_s(self._setting.download_bytes[self.held])

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
        return self._download(groups, num_bytes, None)

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
        yield from self._download(groups, None, dispatch.latest_version)

    def _download(self, groups: tuple[str, ...] | None, num_bytes: int | None, version: int | None) -> Iterable[Span]:
        setting, client = self._setting, self.client
        if num_bytes is None:
            num_bytes = (
                setting.download_bytes[setting.population.modalities[client]]
                if groups is None
                else setting.network.num_bytes(groups) + setting.broadcast_bytes
            )
        return self._spend(Span("download", self._transfer_down_s(num_bytes), None, num_bytes, version=version))

    def _transfer_down_s(self, num_bytes: int) -> float:
        return self._setting.world.links.transfer_s(self.client, "down", num_bytes, self._dispatch.window)

    def wait_for(self, modality: str) -> Iterable[Span]:
        """Wait until a modality has arrived; no time passes if it has."""
        at_s, now_s = self.arrivals_s[modality], self._dispatch.now_s
        return self._spend(Span("wait", delay_s(now_s, at_s), modality)) if at_s > now_s else ()

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
        return self._training(activity, cost, self.overhead_s())

    def train_until_notice(self, *steps: LocalSteps) -> Iterator[Span]:
        """Train as `train` does, but no longer than the pass over the window in which an urgent notice arrives.

        Args:
            steps: optimiser steps, in order; all of them without a notice.
        """
        setting, dispatch = self._setting, self._dispatch
        flops, operations, overhead_s = 0, 0, self.overhead_s()
        for done in _passes(steps, self.num_steps(1)):
            if flops:
                yield MEETING
                if dispatch.noticed_s <= dispatch.now_s:
                    break
            made, cost = done, setting.costs.of_task(done, self.num_samples)
            added = replace(cost, flops=cost.flops - flops, operations=cost.operations - operations)
            yield from self._training("train", added, overhead_s)
            flops, operations, overhead_s = cost.flops, cost.operations, 0.0
        self._begin(made, cost, None)

    def _training(self, activity: Activity, cost: TaskCost, overhead_s: float) -> Iterable[Span]:
        devices, client, window = self._setting.world.devices, self.client, self._dispatch.window
        duration_s = overhead_s + self._work_s(cost.flops, cost.operations)
        is_slow = devices.is_slow(client, window)
        return self._spend(Span(activity, duration_s, cost.modality, 0, cost.flops, is_slow))

    def _begin(self, steps: tuple[LocalSteps, ...], cost: TaskCost, broadcast: Values | None) -> None:
        """Submit a task."""
        self._trained = UNTRAINED if self._submit is None else self._submit(self._task(steps, broadcast))
        self._report_bytes = cost.report_bytes
        self._local_steps += steps
        if cost.groups != self._groups:
            self._groups = tuple(dict.fromkeys((*self._groups, *cost.groups)))

    def _task(self, steps: tuple[LocalSteps, ...], broadcast: Values | None) -> Task:
        setting, dispatch = self._setting, self._dispatch
        client, window = self.client, dispatch.window
        return Task(
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
        return self._spend(Span("upload", duration_s, None, num_bytes, update=update))

    def _spend(self, span: Span) -> Iterable[Span]:
        """Return the span, for `federation.journey` to decide its outcome."""
        return (span,)


def notice_s(setting: Setting, dispatch: Dispatch) -> float:
    """Return the seconds that an urgent notice takes to a client."""
    return setting.world.links.transfer_s(dispatch.client, "down", _NOTICE_BYTES, dispatch.window)


def _passes(steps: tuple[LocalSteps, ...], per_pass: int) -> Iterator[tuple[LocalSteps, ...]]:
    """Yield the beginnings of local steps that end with a pass over the window, the whole of them last."""
    for position, one in enumerate(steps):
        stop = one.first_step + one.num_steps
        for end in (*range((one.first_step // per_pass + 1) * per_pass, stop, per_pass), stop):
            yield (*steps[:position], one._replace(num_steps=end - one.first_step))
