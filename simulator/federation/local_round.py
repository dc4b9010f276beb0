"""A client's local round: the verbs in which a method writes a client's day.

Every verb is a SimPy generator, used as ``yield from client.download()``. Simulated time passes by the world's model of what
the verb does; training returns at once with the promise of a result.
"""

import math
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from simpy import Event

from models.network import Parameters
from simulator.federation.timeline import Row
from simulator.training.objective import Objective, Values
from simulator.training.task import Deferred, Start, Stint, Task, window_samples

if TYPE_CHECKING:
    from simulator.federation.server import Server

Steps = Generator[Event, Any, Any]
"""What a verb is: a generator of SimPy events."""

_SAMPLE_COUNT_BYTES = 8  # every upload says how many samples it was trained on


@dataclass(frozen=True, slots=True)
class Update:
    """What arrives at the server."""

    client: int
    version: int
    """The version that the client had received."""
    groups: tuple[str, ...]
    """The parameter groups sent: those that were trained."""
    num_samples: int
    trained: Deferred
    received: Parameters


class LocalRound:
    """One local round of one client, from dispatch to return.

    Args:
        server: the server that dispatched it.
        client: who.
        window: index of the client's window, which also addresses the round's random draws.
    """

    __slots__ = (
        "_groups",
        "_open",
        "_report_bytes",
        "_s_per_flop",
        "_server",
        "arrivals_s",
        "broadcast",
        "client",
        "num_samples",
        "received",
        "samples",
        "update",
        "version",
        "window",
    )

    def __init__(self, server: "Server", client: int, window: int) -> None:
        self._server = server
        self.client = client
        self.window = window
        self.version = server.version
        self.received = server.model
        self.broadcast: Values = server.broadcast
        world = server.world
        self.samples = window_samples(server.population.shards[client], window, server.training.window_samples)
        self.num_samples = len(self.samples)
        self.arrivals_s: Mapping[str, float] = world.arrivals_s(
            client, window, server.clock.now, self.num_samples, server.population.modalities[client]
        )
        """When each modality of the window is there; one that misses this round is not in it."""
        self.update: Update | None = None
        self._s_per_flop = world.devices.s_per_flop(client, window)
        self._groups: dict[str, None] = {}
        self._report_bytes = 0
        self._open: Row | None = None

    @property
    def now_s(self) -> float:
        """The simulated time."""
        now_s: float = self._server.clock.now
        return now_s

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

    def download(self) -> Steps:
        """Receive the global model of the moment of dispatch; returns it."""
        num_bytes = self._server.download_bytes(self.client)
        duration_s = self._server.world.links.transfer_s(self.client, "down", num_bytes, self.window)
        yield from self._spend("download", duration_s, num_bytes=num_bytes)
        return self.received

    def wait_for(self, modality: str) -> Steps:
        """Wait until a modality is there; no time passes if it is."""
        yield from self.wait_until(self.arrivals_s[modality], modality)

    def wait_until(self, at_s: float, modality: str | None = None) -> Steps:
        """Wait until a moment; no time passes if it is over."""
        now_s = self.now_s
        if at_s <= now_s:
            return
        delay_s = at_s - now_s
        while now_s + delay_s < at_s:  # rounding must not end the wait before the moment
            delay_s = math.nextafter(delay_s, math.inf)
        yield from self._spend("wait", delay_s, modality=modality)

    def overhead_s(self) -> float:
        """Return the fixed time of a training task at this client."""
        return self._server.world.devices.overhead_s(self.client)

    def step_s(self, objective: Objective, step: int) -> float:
        """Return the seconds that the `step`-th mini-batch of an objective takes."""
        costs = self._server.costs
        return costs.step_flops(objective, costs.batch_samples(step, self.num_samples)) * self._s_per_flop

    def train(self, *stints: Stint, start: Start, kind: str = "train") -> Steps:
        """Train from `start`; returns the promise of the result.

        Args:
            stints: optimiser steps, in order.
            start: a model, or the promise of one.
            kind: the timeline's name for it, ``train`` or ``train_unimodal``.
        """
        server = self._server
        objectives = dict.fromkeys(stint.objective for stint in stints)
        flops = sum(server.costs.stint_flops(stint, self.num_samples) for stint in stints)
        self._report_bytes = 0
        for objective in objectives:
            flops += server.costs.prepare_flops(objective, self.num_samples)
            flops += server.costs.report_flops(objective, self.num_samples)
            self._report_bytes += server.costs.report_bytes(objective)
            self._groups |= dict.fromkeys(objective.groups(server.network))
        trained = server.executor.submit(
            Task(
                client=self.client,
                window=self.window,
                version=self.version,
                stints=stints,
                samples=self.samples,
                start=start,
                received=self.received,
                broadcast=self.broadcast,
            )
        )
        duration_s = self.overhead_s() + flops * self._s_per_flop
        modality = "+".join(dict.fromkeys(m for objective in objectives for m in objective.modalities))
        yield from self._spend(kind, duration_s, modality=modality, flops=flops)
        return trained

    def upload(self, trained: Deferred) -> Steps:
        """Send the groups trained in this round and the last task's report; the upload may break off."""
        server = self._server
        groups = tuple(self._groups)
        num_bytes = sum(server.network.group_bytes[group] for group in groups)
        num_bytes += self._report_bytes + _SAMPLE_COUNT_BYTES
        duration_s = server.world.links.transfer_s(self.client, "up", num_bytes, self.window)
        fraction = server.world.faults.upload_fraction(self.client, self.window)
        if fraction < 1.0:
            yield from self._spend("upload_lost", fraction * duration_s, num_bytes=int(fraction * num_bytes))
            return
        yield from self._spend("upload", duration_s, num_bytes=num_bytes)
        self.update = Update(self.client, self.version, groups, self.num_samples, trained, self.received)

    def unfinished(self, end_s: float) -> Row | None:
        """Return the span under way, cut at `end_s` with its share of bytes and FLOPs."""
        if self._open is None:
            return None
        row = self._open
        share = (end_s - row.start_s) / (row.end_s - row.start_s)
        return row._replace(end_s=end_s, bytes=int(row.bytes * share), flops=int(row.flops * share))

    def _spend(
        self, kind: str, duration_s: float, *, modality: str | None = None, num_bytes: int = 0, flops: int = 0
    ) -> Steps:
        """Let simulated time pass and note what it was spent on."""
        clock = self._server.clock
        start_s = clock.now
        row = Row(self.client, kind, start_s, start_s + duration_s, self.version, modality, num_bytes, flops)
        self._open = row
        yield clock.timeout(duration_s)
        self._open = None
        self._server.timeline.add(row)
