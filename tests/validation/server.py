"""The server of the real federation: the simulator's own server, on the wall clock and with clients behind sockets.

Versions, inbox, server rule and merge are the product's; when a client returns, and so the order of everything, is
decided by bytes that arrive.
"""

import asyncio
import json
import math
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
from compare import Outcome
from federation import Federation
from link import send_shaped, shape_of
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

_SAMPLE_COUNT_BYTES = 8
_LEAD_S = 0.5
"""From the last client's readiness to the start of the run."""
_CLIENT = Path(__file__).parent / "client.py"


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


class Clients:
    """The client processes, which connect once for every method.

    Args:
        scenario: the scenario's file.
        overrides: of the scenario.
        host_gflops: the calibrated speed of this host.
        num_clients: how many.
    """

    def __init__(self, scenario: Path, overrides: Sequence[str], host_gflops: float, num_clients: int) -> None:
        self._config = {"scenario": str(scenario), "overrides": list(overrides), "host_gflops": host_gflops}
        self._num_clients = num_clients
        self._processes: list[asyncio.subprocess.Process] = []
        self._arrivals: asyncio.Queue[tuple[dict[str, Any], asyncio.StreamReader, asyncio.StreamWriter]] = (
            asyncio.Queue()
        )

    async def __aenter__(self) -> "Clients":
        """Listen, and start the processes."""
        self._listener = await asyncio.start_server(self._welcome, "127.0.0.1", 0)
        self._folder = tempfile.TemporaryDirectory()
        config = Path(self._folder.name) / "config.json"
        port = self._listener.sockets[0].getsockname()[1]
        config.write_text(json.dumps({**self._config, "port": port}), encoding="utf-8")
        for client in range(self._num_clients):
            await self.start(config, client)
        return self

    async def __aexit__(self, *error: object) -> None:
        """Wait for the clients, or end them after an error."""
        try:
            await self.finish(is_broken=error[0] is not None)
        finally:
            self._listener.close()
            self._folder.cleanup()

    async def start(self, config: Path, client: int) -> None:
        """Start a client."""
        process = await asyncio.create_subprocess_exec(sys.executable, str(_CLIENT), str(config), str(client))
        self._processes.append(process)

    async def finish(self, is_broken: bool) -> None:
        """Wait for the clients' end, which they are brought to if something broke."""
        for process in self._processes:
            if is_broken:
                with suppress(ProcessLookupError):
                    process.terminate()
            await process.wait()

    async def connections(self) -> tuple[list[asyncio.StreamReader], list[asyncio.StreamWriter]]:
        """Return the connections of all clients once they are ready for the next method.

        Raises:
            RuntimeError: if a client has ended before.
        """
        ready: dict[int, tuple[asyncio.StreamReader, asyncio.StreamWriter]] = {}
        while len(ready) < self._num_clients:
            try:
                header, reader, writer = await asyncio.wait_for(self._arrivals.get(), timeout=1.0)
            except TimeoutError:
                if any(process.returncode for process in self._processes):
                    raise RuntimeError("a client ended with an error") from None
                continue
            ready[header["client"]] = reader, writer
        return [ready[client][0] for client in sorted(ready)], [ready[client][1] for client in sorted(ready)]

    async def _welcome(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        header = await receive_header(reader)
        if header is not None:
            self._arrivals.put_nowait((header, reader, writer))


@dataclass(frozen=True, eq=False)
class Played:
    """What a real run came to."""

    outcome: Outcome
    computed: pd.DataFrame
    """One row each training, as `host.host_facts` takes them."""
    waits: pd.DataFrame
    """One row each client, likewise."""


async def play(run: Federation, clients: Clients, seconds: float) -> Played:
    """Run one method for real.

    Args:
        run: the method's run.
        clients: the processes.
        seconds: how long.
    """
    readers, writers = await clients.connections()
    wall = WallTime(time.monotonic() + _LEAD_S)
    for writer in writers:
        send_header(writer, {"start_s": wall.start_s})
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
    return Played(Outcome(pa.concat_tables(sink.parts).to_pandas(), accuracy), computed, _waits(notes))


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
