"""The fleet: which clients are idle, which are in flight, and the next window of each."""

from array import array
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from math import inf
from typing import Any, NamedTuple

import numpy as np
from simpy import Event

from interlude.simulator.federation.accounting.losses import Losses
from interlude.simulator.federation.batteries import Batteries, BothGates, Gate
from interlude.simulator.federation.client_day import ClientDay, notice_s
from interlude.simulator.federation.clock import Clock
from interlude.simulator.federation.dispatch import Ask, Dispatch, Download, PendingUpdate, Steps, Submit
from interlude.simulator.federation.interruptions import Interruptions, undisturbed_s
from interlude.simulator.federation.journey import Journey
from interlude.simulator.federation.selection import IdleAndOn, IdleClients
from interlude.simulator.federation.setting import Setting
from interlude.simulator.federation.shared_link import SharedLink
from interlude.simulator.federation.timeline import SpanRow, Timeline
from interlude.simulator.federation.undisturbed_day import UndisturbedDay
from interlude.simulator.world.availability import Availability

_CLIENTS_AT_ONCE = 1_000
"""Whose rows go to the timeline together at the end."""
_ROW_VALUES = len(SpanRow._fields)

WriteDay = Callable[[ClientDay], Steps]
"""A method's local round: the steps of one client's day."""


class Returned(NamedTuple):
    """A client that returned, with an update or, if it has none to merge, without."""

    client: int
    update: PendingUpdate | None


class Fleet:
    """The clients of one run.

    Args:
        clock: the simulated clock.
        timeline: receives spans.
        setting: what all clients share.
        write_day: the method's local round.
        submit: receives the training tasks of days; None: nothing is trained, and no task is made.
        ask: answers downloads in mid-round.
        losses: receives lost local rounds.
        on_return: receives every client that returns.
    """

    def __init__(
        self,
        clock: Clock,
        timeline: Timeline,
        setting: Setting,
        write_day: WriteDay,
        submit: Submit | None,
        ask: Ask,
        losses: Losses,
        on_return: Callable[[Returned], None],
    ) -> None:
        self._clock = clock
        self._timeline = timeline
        self._setting = setting
        self._write_day = write_day
        self._submit = submit
        self._ask = ask
        self._losses = losses
        self._on_return = on_return
        self._is_uninterrupted = setting.world.is_uninterrupted
        world, num_clients = setting.world, setting.population.num_clients
        self._availability = world.availability
        self.batteries = None if world.battery_draws is None else Batteries(world.battery_draws)
        """None: there is always enough energy."""
        self._gate = _gate(world.availability, self.batteries)
        self.idle = (
            IdleClients(num_clients, setting.seed)
            if self._gate is None
            else IdleAndOn(num_clients, setting.seed, self._gate, clock)
        )
        """The clients that could be dispatched."""
        self.missed_download: set[int] = set()
        """Clients whose last download at dispatch was cut off; for methods that track what a client has."""
        self.num_returned = 0
        self._links = {
            direction: SharedLink(clock, capacity) for direction, capacity in world.links.shared_bytes_per_s.items()
        }
        self._idle_since_s = array("d", bytes(8 * num_clients))
        self._next_window = array("q", bytes(8 * num_clients))
        self._num_rounds = array("q", bytes(8 * num_clients))
        self._rounds_s = array("d", bytes(8 * num_clients))
        self._at_work: dict[int, Journey] = {}
        self._last_round_s: dict[int, float] = {}
        self._versions_to_receive: dict[int, int] = {}
        """Of every client that returned and was not received yet, the version that it started from."""

    @property
    def num_in_flight(self) -> int:
        """Clients dispatched and not received yet: those at work, and those that wait in the server's inbox."""
        return len(self._at_work) + len(self._versions_to_receive)

    def versions_in_flight(self, of: Collection[int] | None = None) -> list[int]:
        """Return the versions that clients in flight started from, or some of the clients, oldest first."""
        at_work = {client: journey.dispatch.version for client, journey in self._at_work.items()}
        versions = at_work | self._versions_to_receive
        return sorted(versions.values() if of is None else (versions[client] for client in of))

    def slowest_round_s(self, of: Collection[int] | None = None) -> float:
        """Return the longest of the last local rounds, of all clients or some, that brought an update, in seconds."""
        last_s = self._last_round_s
        return max((s for client, s in last_s.items() if of is None or client in of), default=0.0)

    def next_online_event(self) -> Event | None:
        """Return the next moment at which an idle client that is off now is on; None if there is none to come."""
        return self.idle.next_online_event() if isinstance(self.idle, IdleAndOn) else None

    def has_left(self, client: int) -> bool:
        """Return whether a client that is idle will never be on again, or never with enough energy."""
        return self._gate is not None and self._gate.next_on(client, self._clock.now) == inf

    def may_end_idle(self) -> bool:
        """Return whether no client is in flight, in a world where clients can leave for good."""
        return self._gate is not None and not self.num_in_flight

    def take_window(self, client: int) -> int:
        """Return the window of a client's next local round, and mark it as used."""
        window, setting = self._next_window[client], self._setting
        if setting.world.drops_windows:
            num_samples, held = setting.num_window_samples[client], setting.population.modalities[client]
            window = max(window, setting.world.oldest_window(client, self._clock.now, num_samples, held))
        self._next_window[client] = window + 1
        return window

    def mean_round_s(self, client: int) -> float:
        """Return the mean simulated seconds of a client's local rounds that are over; 0 if there are none."""
        return self._rounds_s[client] / max(self._num_rounds[client], 1)

    def send(self, dispatch: Dispatch) -> None:
        """Dispatch a client, which is no longer among the idle ones, into a local round."""
        self._note_idle(dispatch.client, dispatch.start_s)
        journey = Journey(self._clock, self._timeline, dispatch, self._take_back)
        self._at_work[dispatch.client] = journey
        setting, world = self._setting, self._setting.world
        if self._is_uninterrupted:
            undisturbed = UndisturbedDay(setting, dispatch, self._submit, self._ask, journey.values)
            journey.start_undisturbed(self._steps(undisturbed))
            return
        crash_s, fraction = inf, world.faults.crash_fraction(dispatch.client, dispatch.window)
        if fraction < 1.0:
            same = replace(dispatch)  # a throw-away day, whose time is its own
            untrained = self._steps(ClientDay(setting, same, None, _as_at_dispatch))
            crash_s = dispatch.start_s + fraction * undisturbed_s(untrained, world, same)
        steps = self._steps(ClientDay(setting, dispatch, self._submit, self._ask))
        journey.start(Interruptions(world, self._links, dispatch, crash_s).life(steps))

    def hurry(self, up_to_version: int, of: Collection[int] | None = None) -> None:
        """Send clients at work, or some, that started from a version or an older one a notice unless they have one."""
        for client, journey in self._at_work.items():
            dispatch = journey.dispatch
            is_asked = of is None or client in of
            if is_asked and dispatch.version <= up_to_version and dispatch.noticed_s == inf:
                dispatch.noticed_s = self._clock.now + notice_s(self._setting, dispatch)

    def receive(self, client: int) -> None:
        """Make a client idle whose return the server has received; until then it is in flight."""
        del self._versions_to_receive[client]
        self.idle.put_back(client)

    def finish(self, end_s: float, *, with_idle: bool = True) -> None:
        """Close every client's time at the end of the run, that of idle ones only if it is to be accounted for."""
        if with_idle:
            self._note_all_idle(end_s)
        for client, journey in self._at_work.items():
            moved = journey.cut(end_s)
            if self.batteries is not None:
                self.batteries.spend(client, journey.rows_until(end_s), journey.dispatch.start_s, end_s)
            self._losses.bytes_down_cut += moved.down
            self._losses.bytes_up_cut += moved.up

    def state(self) -> dict[int, tuple[Any, Any, Any, Any]]:
        """Return the checkpoint's state: what clients received whose day will submit more training."""
        planning = [journey.dispatch for journey in self._at_work.values() if not journey.ending.is_over]
        return {one.client: (one.received, one.start, one.broadcast, one.fresh) for one in planning}

    def restore(self, state: Mapping[int, tuple[Any, Any, Any, Any]]) -> None:
        """Continue from a checkpoint after a replay."""
        for client, kept in state.items():
            dispatch = self._at_work[client].dispatch
            dispatch.received, dispatch.start, dispatch.broadcast, dispatch.fresh = kept

    def _steps(self, day: ClientDay) -> Steps:
        """Return a client's day as the method writes it; a client whose data never arrive only downloads."""
        return self._write_day(day) if day.arrivals_s else day.download()

    def _take_back(self, journey: Journey) -> None:
        """Record that a client has returned."""
        client, ending, now_s = journey.dispatch.client, journey.ending, self._clock.now
        if ending.update is not None:
            self._losses.bytes_received += ending.update.num_bytes
            self._last_round_s[client] = now_s - journey.dispatch.start_s
        elif ending.reason is not None:
            device_s = now_s - journey.dispatch.start_s - ending.off_s
            self._losses.add_round(ending.reason, device_s, ending.bytes_not_received)
            if not ending.has_received:
                self.missed_download.add(client)
        if self.batteries is not None:
            self.batteries.spend(client, journey.rows(), journey.dispatch.start_s, now_s)
        del self._at_work[client]
        self._versions_to_receive[client] = journey.dispatch.version
        self._idle_since_s[client] = now_s
        self._num_rounds[client] += 1
        self._rounds_s[client] += now_s - journey.dispatch.start_s
        self.num_returned += 1
        self._on_return(Returned(client, ending.update))

    def _note_all_idle(self, until_s: float) -> None:
        """Add the time of every client that is not at work since it returned; at once where all are always on."""
        if self._availability is not None:
            for client in range(self._setting.population.num_clients):
                if client not in self._at_work:
                    self._note_idle(client, until_s)
            return
        since_s = np.frombuffer(self._idle_since_s)
        is_idle = since_s < until_s
        is_idle[list(self._at_work)] = False
        clients = np.flatnonzero(is_idle)
        for start in range(0, len(clients), _CLIENTS_AT_ONCE):
            some = clients[start : start + _CLIENTS_AT_ONCE]
            values: list[Any] = [None, "idle", "done", False, None, until_s, None, None, 0, 0, None] * len(some)
            values[0::_ROW_VALUES], values[4::_ROW_VALUES] = some.tolist(), since_s[some].tolist()
            self._timeline.extend_values(values)

    def _note_idle(self, client: int, until_s: float) -> None:
        """Add the time since a client returned to the timeline, on and off."""
        since_s = self._idle_since_s[client]
        if since_s >= until_s:
            return
        availability = self._availability
        if availability is None:
            self._timeline.add(client, "idle", since_s, until_s)
            return
        while since_s < until_s:
            on_s = min(availability.next_on(client, since_s), until_s)
            if on_s > since_s:
                self._timeline.add(client, "off", since_s, on_s)
            if on_s < until_s:
                since_s = min(on_s + availability.remaining_on(client, on_s), until_s)
                self._timeline.add(client, "idle", on_s, since_s)
            else:
                since_s = on_s


def _as_at_dispatch(dispatch: Dispatch) -> Download:
    """Return what a client downloaded at dispatch: of a throw-away day only the duration counts."""
    return Download(dispatch.version, dispatch.received, dispatch.broadcast)


def _gate(availability: Availability | None, batteries: Batteries | None) -> Gate | None:
    """Return what decides when clients can be sent out; None: they always can."""
    if availability is not None and batteries is not None:
        return BothGates(availability, batteries)
    return availability or batteries
