"""A client's local round: the verbs in which a method writes a client's day.

Every verb yields the spans that it takes, used as ``yield from client.download()``. Simulated time passes by the
world's model of what the verb does; what training learns is a promise, kept when somebody needs it.
"""

from collections.abc import Generator, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from interlude.models.network import Network
from interlude.simulator.federation.clock import Sleeper, delay_s
from interlude.simulator.federation.timeline import END_S, SLOW, Row, cut_off
from interlude.simulator.randomness import Stream
from interlude.simulator.training.objective import Objective, Values
from interlude.simulator.training.task import Deferred, LocalSteps, Start, Task, window_samples

if TYPE_CHECKING:
    from interlude.simulator.federation.server import Server

Span = tuple[str, float, str | None, int, int]
"""What simulated time is spent on: the timeline's kind, seconds, modality, bytes and FLOPs."""

Steps = Generator[Span, Any, Any]
"""What a verb is: a generator of spans."""

_SAMPLE_COUNT_BYTES = 8  # every upload says how many samples it was trained on


class Update(NamedTuple):
    """What arrives at the server."""

    client: int
    version: int
    """The version that the client had received."""
    groups: tuple[str, ...]
    """The parameter groups sent: those that were trained."""
    num_samples: int
    trained: Deferred
    num_bytes: int
    """The payload that arrived."""


class LocalRound(Sleeper):
    """One local round of one client, from dispatch to return.

    Args:
        server: the server that dispatched it.
        client: who.
        window: index of the client's window, which also addresses the round's random draws.
        role: what the method tells the client to be; None for an ordinary client.
    """

    __slots__ = (
        "_clock",
        "_groups",
        "_report_bytes",
        "_row",
        "_rows",
        "_s_per_flop",
        "_server",
        "arrivals_s",
        "broadcast",
        "client",
        "fate",
        "now_s",
        "num_samples",
        "received",
        "role",
        "start_s",
        "update",
        "version",
        "window",
    )

    def __init__(self, server: "Server", client: int, window: int, role: Any = None) -> None:
        self._server = server
        self._clock = server.clock
        self.now_s: float = self._clock.now
        """The client's own time, which is ahead of the clock while its day is planned."""
        self.start_s = self.now_s
        self.client = client
        self.window = window
        self.version = server.version
        self.role = role
        self.received = server.model_for(client)
        self.broadcast: Values = server.broadcast
        world = server.world
        self.num_samples = server.num_window_samples(client)
        self.arrivals_s: Mapping[str, float] = world.arrivals_s(
            client, window, self.now_s, self.num_samples, server.population.modalities[client]
        )
        """When each modality of the window is there; one that misses this round is not in it."""
        self.update: Update | None = None
        self.fate: str | None = None
        """Why the local round came to nothing; None where it did not, or had nothing to send."""
        self._s_per_flop = world.devices.s_per_flop(client, window)
        self._groups: tuple[str, ...] = ()
        self._report_bytes = 0
        self._rows: Iterator[Row]
        self._row: Row | None = None

    def start(self, day: Steps) -> None:
        """Begin to spend the client's time; what comes after the last span is the server's to say.

        Nothing in a client's day depends on what others do meanwhile, so the whole day is known now. Its spans are
        noted as they pass, but its tasks are submitted at once: all clients in flight can be trained together.
        """
        rows: list[Row] = []
        for kind, duration_s, modality, num_bytes, flops in day:
            start_s = self.now_s
            self.now_s = start_s + duration_s
            rows.append((self.client, kind, start_s, self.now_s, self.version, modality, num_bytes, flops, None))
        self._rows = iter(rows)
        self.wake()

    def wake(self) -> None:
        """Note the span that is over and begin the next one."""
        if self._row is not None:
            self._server.timeline.append(self._row)
        self._row = next(self._rows, None)
        if self._row is None:
            self._server.on_return(self)
        else:
            self._clock.wake_at(self._row[END_S], self)

    @property
    def spent_s(self) -> float:
        """Device-seconds since the dispatch."""
        return self._clock.now - self.start_s

    @property
    def has_received(self) -> bool:
        """Whether the download came to its end."""
        return True

    @property
    def bytes_not_received(self) -> int:
        """What was moved of a download that was cut off."""
        return 0

    @property
    def trains_apart(self) -> bool:
        """Whether a modality misses, for which the others are trained each alone."""
        server = self._server
        if not server.world.may_train_apart:
            return False
        return server.world.trains_apart(server.population.modalities[self.client], self.arrivals_s)

    def uniform(self, purpose: str) -> float:
        """Return this round's random number in (0, 1) for a purpose of the method's own."""
        stream = Stream(self._server.seed, purpose, self.client)
        return float(stream.generator(self.window).random())

    @property
    def network(self) -> Network:
        """The network trained: its groups and shapes."""
        return self._server.network

    @property
    def modalities(self) -> tuple[str, ...]:
        """The modalities of this round's window, in the data set's order."""
        return tuple(self.arrivals_s)

    def modalities_in_arrival_order(self) -> list[str]:
        """Return the round's modalities, earliest first; ties in the data set's order."""
        return sorted(self.arrivals_s, key=self.arrivals_s.__getitem__)

    def arrived(self) -> tuple[str, ...]:
        """Return the modalities that are there now, in the data set's order."""
        return tuple(m for m, arrival_s in self.arrivals_s.items() if arrival_s <= self.now_s)

    def num_steps(self, epochs: int | None = None) -> int:
        """Return the mini-batches of some passes over the window; unset: the scenario's local epochs."""
        epochs = self._server.training.local_epochs if epochs is None else epochs
        return self._server.costs.num_steps(self.num_samples, epochs)

    def download(self, groups: tuple[str, ...] | None = None) -> Steps:
        """Receive the global model of the moment of dispatch; returns it.

        Args:
            groups: the parameter groups that are sent, where the client has the others already; unset: all groups of
                the client's modalities.
        """
        num_bytes = self._server.download_bytes(self.client, groups)
        duration_s = self._server.world.links.transfer_s(self.client, "down", num_bytes, self.window)
        yield "download", duration_s, None, num_bytes, 0
        return self.received

    def wait_for(self, modality: str) -> Iterable[Span]:
        """Wait until a modality is there; no time passes if it is."""
        return self.wait_until(self.arrivals_s[modality], modality)

    def wait_until(self, at_s: float, modality: str | None = None) -> Iterable[Span]:
        """Wait until a moment; no time passes if it is over."""
        now_s = self.now_s
        if at_s <= now_s:
            return ()
        return (("wait", delay_s(now_s, at_s), modality, 0, 0),)

    def overhead_s(self) -> float:
        """Return the fixed time of a training task at this client."""
        return self._server.world.devices.overhead_s(self.client)

    def step_s(self, objective: Objective, step: int) -> float:
        """Return the seconds that the `step`-th mini-batch of an objective takes."""
        costs = self._server.costs
        return costs.step_flops(objective, costs.batch_samples(step, self.num_samples)) * self._s_per_flop

    def train(self, *stints: LocalSteps, start: Start, kind: str = "train") -> Steps:
        """Train from `start`; returns the promise of the result.

        Args:
            stints: optimiser steps, in order.
            start: a model, or the promise of one.
            kind: the timeline's name for it, ``train`` or ``train_unimodal``.
        """
        server = self._server
        cost = server.costs.of_task(stints, self.num_samples)
        shard = server.population.shards[self.client]
        trained = self._submit(
            Task(
                client=self.client,
                window=self.window,
                version=self.version,
                stints=stints,
                samples=window_samples(shard, self.window, server.training.window_samples),
                start=start,
                received=self.received,
                broadcast=self.broadcast,
            )
        )
        self._report_bytes = cost.report_bytes
        if cost.groups != self._groups:
            self._groups = tuple(dict.fromkeys((*self._groups, *cost.groups)))
        if server.world.devices.is_slow(self.client, self.window):
            kind += SLOW
        duration_s = self.overhead_s() + cost.flops * self._s_per_flop
        yield kind, duration_s, cost.modality, 0, cost.flops
        return trained

    def upload(
        self, trained: Deferred, *, groups: tuple[str, ...] | None = None, group_bytes: int | None = None
    ) -> Steps:
        """Send parameter groups and the last task's report; the upload may break off.

        Args:
            trained: the promise of what is sent.
            groups: the groups; unset: all that were trained in this round.
            group_bytes: their payload, where they are encoded; unset: dense.
        """
        server = self._server
        groups = self._groups if groups is None else groups
        num_bytes, duration_s = self._upload_cost(groups, group_bytes)
        fraction = server.world.faults.upload_fraction(self.client, self.window)
        if fraction < 1.0:
            yield "upload_lost", fraction * duration_s, None, int(fraction * num_bytes), 0
            self.fate = "broke off"
            return
        yield "upload", duration_s, None, num_bytes, 0
        self.update = Update(self.client, self.version, groups, self.num_samples, trained, num_bytes)

    def _upload_cost(self, groups: tuple[str, ...], group_bytes: int | None) -> tuple[int, float]:
        """Return the bytes of an upload, with the last task's report, and the seconds it takes alone."""
        server = self._server
        num_bytes = server.network.num_bytes(groups) if group_bytes is None else group_bytes
        num_bytes += self._report_bytes + _SAMPLE_COUNT_BYTES
        return num_bytes, server.world.links.transfer_s(self.client, "up", num_bytes, self.window)

    def _submit(self, task: Task) -> Deferred:
        """Return the promise of a task's result."""
        return self._server.executor.submit(task)

    def cut(self, end_s: float) -> None:
        """Note the span under way, cut at the end of the run, with its share of bytes and FLOPs."""
        if self._row is None:
            return
        client, kind, start_s, planned_end_s, version, modality, num_bytes, flops, _ = self._row
        if start_s == end_s:
            return
        share = (end_s - start_s) / (planned_end_s - start_s)
        self._server.timeline.add(
            client, cut_off(kind), start_s, end_s, version, modality, int(num_bytes * share), int(flops * share)
        )
