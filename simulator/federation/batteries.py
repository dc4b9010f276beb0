"""Batteries of clients while a run is in progress, and who can be sent out."""

from array import array
from collections.abc import Iterable
from math import inf
from typing import Any, Protocol

from interlude.simulator.federation.timeline import SpanRow
from interlude.simulator.world.energy import BatteryDraws, purpose_of


class Gate(Protocol):
    """What decides when a client can be sent out."""

    def next_on(self, client: int, at_s: float, /) -> float:
        """Return the first moment at or after `at_s`; infinite if there is none."""


class Batteries:
    """The level of every client's battery.

    Args:
        drawn: what the world says of them.
    """

    def __init__(self, drawn: BatteryDraws) -> None:
        self._drawn = drawn
        self._level_j = array("d", drawn.level_j)
        self._since_s = array("d", bytes(8 * len(drawn.level_j)))
        self._ready_s = array("d", bytes(8 * len(drawn.level_j)))
        """From when on each client can be sent out; a moment, so that no rounding asks for it twice."""
        for client in range(len(self._level_j)):
            self._set(client, 0.0, self._level_j[client])

    def next_on(self, client: int, at_s: float) -> float:
        """Return the first moment at or after `at_s` at which there is enough; infinite if there never is again."""
        return max(at_s, self._ready_s[client])

    def spend(self, client: int, rows: Iterable[SpanRow], start_s: float, end_s: float) -> None:
        """Take the joules of a local round that is over, down to none, and add what came in meanwhile.

        Args:
            client: whose it was.
            rows: its spans.
            start_s: when it began.
            end_s: when it ended.
        """
        watts, used_j = self._drawn.watts, 0.0
        for row in rows:
            purpose = purpose_of(row.activity)
            if purpose is not None:
                used_j += float(watts[purpose][client]) * (row.end_s - row.start_s)
        charged_j = self._drawn.charge_w[client] * (end_s - start_s)
        level_j = self._level(client, start_s) + charged_j - used_j
        self._set(client, end_s, min(self._drawn.capacity_j[client], max(0.0, level_j)))

    def totals(self, at_s: float) -> dict[str, Any]:
        """Return how full the batteries are: clients that cannot be sent out, and the mean level as a share."""
        clients = range(len(self._level_j))
        shares = [self._level(client, at_s) / self._drawn.capacity_j[client] for client in clients]
        return {"out": sum(self._ready_s[client] > at_s for client in clients), "level": sum(shares) / len(shares)}

    def _level(self, client: int, at_s: float) -> float:
        charged_j = self._drawn.charge_w[client] * (at_s - self._since_s[client])
        return min(self._drawn.capacity_j[client], self._level_j[client] + charged_j)

    def _set(self, client: int, at_s: float, level_j: float) -> None:
        self._level_j[client], self._since_s[client] = level_j, at_s
        missing_j = self._drawn.reserve * self._drawn.capacity_j[client] - level_j
        charge_w = self._drawn.charge_w[client]
        wait_s = 0.0 if missing_j <= 0.0 else missing_j / charge_w if charge_w > 0.0 else inf
        self._ready_s[client] = at_s + wait_s


class BothGates:
    """A gate that is open where two are.

    Args:
        one: a gate.
        other: another one.
    """

    def __init__(self, one: Gate, other: Gate) -> None:
        self._one = one
        self._other = other

    def next_on(self, client: int, at_s: float) -> float:
        """Return the first moment at or after `at_s` at which both are open; infinite if there is none."""
        while at_s < inf:
            next_s = self._other.next_on(client, self._one.next_on(client, at_s))
            if next_s == at_s:
                break
            at_s = next_s
        return at_s
