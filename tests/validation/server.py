"""The server of the real federation: the simulator's own server, on the wall clock and with clients behind sockets.

Versions, inbox, server rule and merge are the product's; when a client returns, and so the order of everything, is
decided by bytes that arrive.
"""

import asyncio
import math
from collections.abc import Mapping, Sequence
from typing import Any

from federation import Federation
from link import send_shaped, shape_of
from wall import WallTime
from wire import described, packed_groups, packed_values, send_header, unpacked_groups, unpacked_values

from interlude.models.network import Parameters
from interlude.simulator.federation.clock import Clock
from interlude.simulator.federation.dispatch import Dispatch, PendingUpdate
from interlude.simulator.federation.fleet import Fleet
from interlude.simulator.federation.interruptions import Ending
from interlude.simulator.federation.journey import Journey
from interlude.simulator.federation.server import Server
from interlude.simulator.federation.timeline import SpanRow, Timeline
from interlude.simulator.training.executors.future import Future
from interlude.simulator.training.task import Trained

_SAMPLE_COUNT_BYTES = 8


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
