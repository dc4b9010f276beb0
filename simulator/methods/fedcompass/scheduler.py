"""The Compass scheduler: from clients' speeds, groups that arrive together and the steps of their clients.

Plain arithmetic of seconds: it knows no server and no clock, and is told the time.
"""

import math
from dataclasses import dataclass, field

_ROUNDING = 1e-9  # of a number of steps: as many as were assigned are not one less


@dataclass
class Group:
    """Clients that are to arrive together."""

    expected_s: float
    """When."""
    latest_s: float
    """A client that arrives later is late."""
    at_work: set[int] = field(default_factory=set)
    """Those that have not arrived."""
    arrived: list[int] = field(default_factory=list)
    """Those that wait for the others, in order."""


class Compass:
    """Assigns steps and groups.

    Args:
        min_steps: Q_min.
        max_steps: Q_max.
        speed_momentum: share of the last round in the estimate of a client's speed.
        latest_time_factor: lambda, how much longer than expected a group waits.
    """

    def __init__(self, min_steps: int, max_steps: int, speed_momentum: float, latest_time_factor: float) -> None:
        self._min_steps = min_steps
        self._max_steps = max_steps
        self._momentum = speed_momentum
        self._factor = latest_time_factor
        self.step_s: dict[int, float] = {}
        """Estimated seconds per step of each client that has returned."""
        self.groups: dict[int, Group] = {}
        """The open groups, the oldest first."""
        self._group_of: dict[int, int] = {}
        self._num_groups = 0

    def measure(self, client: int, step_s: float) -> None:
        """Take in the seconds per step of a client's last round, everything but its steps included."""
        before = self.step_s.get(client, step_s)
        self.step_s[client] = (1.0 - self._momentum) * before + self._momentum * step_s

    def assign(self, client: int, now_s: float) -> int:
        """Return a client's steps, and let it join the group that they are for; none in its first round."""
        if client not in self.step_s:
            return self._max_steps
        steps, number = self._join(client, now_s) or self._found(client, now_s)
        self.groups[number].at_work.add(client)
        self._group_of[client] = number
        return steps

    def group_of(self, client: int) -> tuple[int, Group] | None:
        """Return the number and the group that a client at work belongs to; None in its first round."""
        number = self._group_of.get(client)
        return None if number is None else (number, self.groups[number])

    def leave(self, client: int) -> None:
        """Take a client out of its group, which is gone once it has no other."""
        found, _ = self.group_of(client), self._group_of.pop(client, None)
        if found is not None:
            number, group = found
            group.at_work.discard(client)
            self._end_if_empty(number)

    def arrive(self, client: int) -> None:
        """Let a client of a group wait for the others."""
        group = self.groups[self._group_of[client]]
        group.at_work.remove(client)
        group.arrived.append(client)

    def close(self, number: int) -> list[int]:
        """Return the clients of a group that have arrived; the others are late from now on."""
        group = self.groups[number]
        arrived, group.arrived = group.arrived, []
        for client in arrived:
            del self._group_of[client]
        group.expected_s = group.latest_s = -math.inf
        self._end_if_empty(number)
        return arrived

    def _end_if_empty(self, number: int) -> None:
        group = self.groups[number]
        if not group.at_work and not group.arrived:
            del self.groups[number]

    def _join(self, client: int, now_s: float) -> tuple[int, int] | None:
        """Return the most steps by which a client arrives with a group, and the group; None if there is no such."""
        fitting = [(self._steps_until(group.expected_s, client, now_s), n) for n, group in self.groups.items()]
        return max((fit for fit in fitting if self._min_steps <= fit[0] <= self._max_steps), default=None)

    def _found(self, client: int, now_s: float) -> tuple[int, int]:
        """Return the steps with which a client founds a group, and the group.

        It is to arrive when the fastest client of an open group will have made Q_max steps after the group's latest
        arrival: the two can then meet. If there is no such group, the client makes Q_max steps itself.
        """
        meetings = []
        for group in self.groups.values():
            if now_s < group.latest_s:
                fastest_s = min(self.step_s[member] for member in (*group.at_work, *group.arrived))
                meetings.append(self._steps_until(group.latest_s + fastest_s * self._max_steps, client, now_s))
        possible = [max(steps, self._min_steps) for steps in meetings if steps <= self._max_steps]
        steps = max(possible, default=self._max_steps)
        duration_s, number = steps * self.step_s[client], self._num_groups
        self.groups[number] = Group(now_s + duration_s, now_s + duration_s * self._factor)
        self._num_groups += 1
        return steps, number

    def _steps_until(self, at_s: float, client: int, now_s: float) -> int:
        """Return how many whole steps a client makes until a moment; a negative number if it is over."""
        left_s, step_s = at_s - now_s, self.step_s[client]
        return math.floor(left_s / step_s * (1.0 + _ROUNDING)) if left_s > 0.0 < step_s else -1
