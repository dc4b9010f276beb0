"""One method's real run, from the clients' rehearsal to what it came to."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd
import pyarrow as pa
from compare import Outcome
from federation import Federation
from host import Host, rehearsed
from processes import Clients
from server import LiveServer, WallClock
from wall import WallTime
from wire import receive_header, send_header

from interlude.models.network import Parameters
from interlude.simulator.calibrate.speed import Timed
from interlude.simulator.federation.timeline import Timeline
from interlude.simulator.record.sink import TimelineInMemory

_LEAD_S = 0.5
"""From the last client's readiness to the start of the run."""


@dataclass(frozen=True, eq=False)
class Played:
    """What a real run came to."""

    outcome: Outcome
    computed: pd.DataFrame
    """One row each training, as `host.host_facts` takes them."""
    waits: pd.DataFrame
    """One row each client, likewise."""
    host: Host
    """The speed of this host that slow factors refer to."""


async def play(run: Federation, clients: Clients, seconds: float, host: Host, rehearsal_s: float) -> Played:
    """Run one method for real.

    Args:
        run: the method's run.
        clients: the processes.
        seconds: how long.
        host: the speed of this host, which slow factors refer to, if there is no rehearsal.
        rehearsal_s: how long the clients train and sleep before, to find that speed; 0: not at all.
    """
    readers, writers = await clients.connections()
    for writer in writers:
        send_header(writer, {"seconds": rehearsal_s})
    headers = [header for reader in readers if (header := await receive_header(reader)) is not None]
    joint, other = ([Timed(*one) for header in headers for one in header[part]] for part in ("joint", "other"))
    if joint:
        host = rehearsed(joint, other)
    wall = WallTime(time.monotonic() + _LEAD_S)
    for writer in writers:
        send_header(writer, {"start_s": wall.start_s, "host": asdict(host)})
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
    return Played(Outcome(pa.concat_tables(sink.parts).to_pandas(), accuracy), computed, _waits(notes), host)


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
        names = ("activity", "flops", "assumed_s", "cpu_s", "host_s", "late_s")
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
