"""The server of the real federation: the simulator's own server, on the wall clock and with clients behind sockets.

Versions, inbox, server rule and merge are the product's; when a client returns, and so the order of everything, is
decided by bytes that arrive.
"""

import asyncio
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import pyarrow as pa
from compare import Outcome
from federation import Federation
from link import send_shaped, shape_of
from processes import Clients
from wall import WallTime
from wire import described, packed_groups, packed_values, receive_header, send_header, unpacked_groups, unpacked_values

from interlude.models.network import Parameters
from interlude.simulator.federation.clock import Clock
from interlude.simulator.federation.dispatch import Dispatch, PendingUpdate
from interlude.simulator.federation.fleet import Fleet
from interlude.simulator.federation.interruptions import Ending
from interlude.simulator.federation.journey import Journey
from interlude.simulator.federation.server import Server
from interlude.simulator.federation.timeline import SpanRow, Timeline
from interlude.simulator.record.sink import TimelineInMemory
from interlude.simulator.training.executors.future import Future
from interlude.simulator.training.task import Trained
from interlude.simulator.world.compute import FLOPS_PER_GFLOP

_SAMPLE_COUNT_BYTES = 8
_LEAD_S = 0.5
"""From the last client's readiness to the start of the run."""


class WallClock(Clock):
    """A clock of events whose time is the wall's: it only processes what is due.

    Args:
        wall: the run's time.
    """

    def __init__(self, wall: WallTime) -> None:
        super().__init__()
        self._wall = wall
        self.may_end_idle = True

    @property
    def now(self) -> float:
        """The seconds since the run's start."""
        return self._wall.now_s()

    def catch_up(self) -> None:
        """Process every event that is due."""
        self.advance(self.now)
        self._now = max(self._now, self.now)
        self.advance(math.nextafter(self._now, math.inf))


class RemoteFleet(Fleet):
    """Clients behind sockets."""

    def connect(self, federation: Federation, writers: Sequence[asyncio.StreamWriter], wall: WallTime) -> None:
        """Give every client its connection."""
        self._federation, self._writers, self._wall = federation, writers, wall
        self._sending: set[asyncio.Task[None]] = set()

    def send(self, dispatch: Dispatch) -> None:
        """Send a client what it downloads, through its shaped link."""
        self._note_idle(dispatch.client, dispatch.start_s)
        self._at_work[dispatch.client] = Journey(self._clock, self._timeline, dispatch, self._take_back)
        task = asyncio.create_task(self._transmit(dispatch))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    def deliver(self, client: int, header: Mapping[str, Any], body: bytes, at_s: float) -> None:
        """Put a client whose last byte arrived into the server's inbox."""
        journey = self._at_work[client]
        dispatch, network = journey.dispatch, self._setting.network
        parameters, rest = unpacked_groups(network, body[_SAMPLE_COUNT_BYTES:], header["groups"])
        report, _ = unpacked_values(rest, header["report"])
        trained: Future[Trained] = Future()
        trained.fulfil(Trained({**dispatch.received, **parameters}, dispatch.received, report, header["loss"]))
        groups = tuple(header["groups"])
        update = PendingUpdate(client, header["version"], groups, header["num_samples"], trained, len(body))
        for activity, start_s, end_s, modality, num_bytes, flops in header["rows"]:
            row = SpanRow(client, activity, "done", False, start_s, end_s, update.version, modality, num_bytes, flops)
            self._timeline.append(row)
        start_s = header["start_s"]
        self._timeline.append(
            SpanRow(client, "upload", "done", False, start_s, at_s, update.version, None, len(body), 0)
        )
        journey.ending = Ending(update, end_s=at_s)
        self._take_back(journey)

    def cancel(self) -> None:
        """Send nothing more."""
        for task in self._sending:
            task.cancel()

    async def _transmit(self, dispatch: Dispatch) -> None:
        setting, client = self._setting, dispatch.client
        groups = setting.network.groups_of(setting.population.modalities[client])
        body = packed_groups(setting.network, dispatch.received, groups) + packed_values(dispatch.broadcast)
        header = {
            "window": dispatch.window,
            "version": dispatch.version,
            "start_s": dispatch.start_s,
            "values": described(dispatch.broadcast),
            "body_bytes": len(body),
        }
        send_header(self._writers[client], header)
        await send_shaped(
            self._writers[client], body, shape_of(setting.world.links, client, "down", dispatch.window), self._wall
        )


class LiveServer(Server):
    """The simulator's server with clients behind sockets; it keeps every version of the model.

    Args:
        run: the method's run.
        clock: the wall's.
        timeline: receives spans and merges.
        writers: the clients' connections.
        wall: the run's time.
    """

    def __init__(
        self,
        run: Federation,
        clock: WallClock,
        timeline: Timeline,
        writers: Sequence[asyncio.StreamWriter],
        wall: WallTime,
    ) -> None:
        ingredients = run.ingredients
        super().__init__(
            clock=clock,
            world=ingredients.world,
            method=run.method,
            network=ingredients.network,
            model=run.model,
            executor=run.executor,
            training=run.spec.training,
            population=ingredients.population,
            timeline=timeline,
            seed=run.setting.seed,
            optimizer=run.spec.options.server.optimizer,
        )
        fleet = RemoteFleet(
            clock,
            timeline,
            run.setting,
            run.method.client_round,
            self._submit,
            self._send_now,
            self.losses,
            self._take_back,
        )
        fleet.connect(run, writers, wall)
        self.fleet: RemoteFleet = fleet
        self.versions: list[tuple[float, Parameters]] = [(0.0, run.model)]
        """Every version of the model, and since when there is it."""

    def merge(self, updates: Sequence[PendingUpdate]) -> bool:
        """Merge, and keep the version."""
        is_merged = super().merge(updates)
        self.versions.append((self.now_s, self.model))
        return is_merged


@dataclass(frozen=True, eq=False)
class Played:
    """What a real run came to."""

    outcome: Outcome
    computed: pd.DataFrame
    """One row each training, as `host.host_facts` takes them."""
    waits: pd.DataFrame
    """One row each client, likewise."""
    host_gflops: float
    """The speed of this host that slow factors refer to."""


async def play(run: Federation, clients: Clients, seconds: float, host_gflops: float, rehearsal_s: float) -> Played:
    """Run one method for real.

    Args:
        run: the method's run.
        clients: the processes.
        seconds: how long.
        host_gflops: the speed of this host, which slow factors refer to, if there is no rehearsal.
        rehearsal_s: how long the clients train and sleep before, to find that speed; 0: not at all.
    """
    readers, writers = await clients.connections()
    for writer in writers:
        send_header(writer, {"seconds": rehearsal_s})
    rehearsed = [header for reader in readers if (header := await receive_header(reader)) is not None]
    cpu_s = sum(header["cpu_s"] for header in rehearsed)
    if cpu_s:
        host_gflops = sum(header["flops"] for header in rehearsed) / cpu_s / FLOPS_PER_GFLOP
    wall = WallTime(time.monotonic() + _LEAD_S)
    for writer in writers:
        send_header(writer, {"start_s": wall.start_s, "host_gflops": host_gflops})
    sink, clock = TimelineInMemory(), WallClock(wall)
    timeline = Timeline(sink.add_timeline)
    server = LiveServer(run, clock, timeline, writers, wall)
    notes: list[dict[str, Any]] = []
    await wall.sleep_until(0.0)
    clock.catch_up()
    listeners = [
        asyncio.create_task(_listen(client, reader, server, clock, notes)) for client, reader in enumerate(readers)
    ]
    done, _ = await asyncio.wait(listeners, timeout=seconds - wall.now_s(), return_when=asyncio.FIRST_EXCEPTION)
    for listener in listeners:
        listener.cancel()
    for finished in done:
        finished.result()  # raises a listener's error
    server.fleet.cancel()
    await asyncio.gather(*map(_hang_up, readers, writers))
    timeline.finish()
    every_s = run.spec.scenario.evaluate.every_s
    moments_s = [every_s * i for i in range(int(seconds / every_s) + 1)]
    accuracy = pd.Series({moment_s: _accuracy(run, server.versions, moment_s) for moment_s in moments_s})
    computed = pd.DataFrame([{"client": note["client"], **one} for note in notes for one in note["computed"]])
    return Played(Outcome(pa.concat_tables(sink.parts).to_pandas(), accuracy), computed, _waits(notes), host_gflops)


async def _listen(
    client: int, reader: asyncio.StreamReader, server: LiveServer, clock: WallClock, notes: list[dict[str, Any]]
) -> None:
    """Receive one client's updates; each is processed once its last byte is here."""
    while (header := await receive_header(reader)) is not None:
        body = await reader.readexactly(header["body_bytes"])
        at_s = clock.now
        clock.catch_up()
        server.fleet.deliver(client, header, body, at_s)
        clock.catch_up()
        notes.append({"client": client, "cpu_wait_s": header["cpu_wait_s"], "cpu_s": header["cpu_s"]})
        names = ("activity", "flops", "cpu_s", "host_s", "late_s")
        notes[-1]["computed"] = [dict(zip(names, one, strict=True)) for one in header["computed"]]
    raise RuntimeError(f"client {client} closed its connection in the run")


async def _hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Say that the run is over; what the client still sends is dropped."""
    writer.write_eof()
    await reader.read()
    writer.close()


def _accuracy(run: Federation, versions: Sequence[tuple[float, Parameters]], at_s: float) -> float:
    """Return the fused test accuracy of the model that there was at a moment."""
    model = [model for since_s, model in versions if since_s <= at_s][-1]
    return run.executor.evaluate(model).result().accuracy["fused"]


def _waits(notes: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Return what each client's process took from its first to its last update."""
    frame = pd.DataFrame(notes, columns=["client", "cpu_s", "cpu_wait_s"]).groupby("client")
    return frame.last() - frame.first()
