"""FedCompass: local steps assigned so that groups of clients arrive together (Li et al., ICLR 2024)."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import reduce
from operator import or_
from typing import Any

from pydantic import Field, PositiveFloat, PositiveInt, model_validator
from simpy import Event

from interlude.models.network import Parameters
from interlude.simulator.federation.client_day import ClientDay
from interlude.simulator.federation.dispatch import PendingUpdate
from interlude.simulator.federation.rules import OnArrival
from interlude.simulator.federation.views import Arrival, Process, ServerView
from interlude.simulator.methods.base import Method
from interlude.simulator.methods.fedcompass.scheduler import Compass
from interlude.simulator.methods.options import MethodOptions
from interlude.simulator.training.merge import ClientUpdate, add_deltas


class ArrivalGroups(OnArrival):
    """Merges when a group has arrived; all clients are at work or wait for their group."""

    mixing: float = Field(0.9, gt=0, le=1, description="alpha, weight of the fresh updates of all clients together")

    @model_validator(mode="after")
    def _sends_all_out(self) -> "ArrivalGroups":
        if self.concurrency is not None or self.max_staleness is not None:
            raise ValueError("FedCompass sends all clients out and drops none: no concurrency, no max_staleness")
        return self


class FedCompassOptions(MethodOptions):
    """Options of FedCompass."""

    name: str = "fedcompass"
    server: ArrivalGroups = ArrivalGroups()
    min_steps: PositiveInt = Field(20, description="Q_min, fewest optimiser steps of a local round")
    max_steps: PositiveInt = Field(100, description="Q_max, most optimiser steps of a local round")
    speed_momentum: float = Field(0.9, gt=0, le=1, description="share of the last round in the estimate of a speed")
    latest_time_factor: PositiveFloat = Field(
        1.5, ge=1, description="lambda, how much longer than expected a group waits for its clients"
    )

    @model_validator(mode="after")
    def _has_steps_to_assign(self) -> "FedCompassOptions":
        if self.min_steps > self.max_steps:
            raise ValueError(f"min_steps must be at most max_steps, {self.max_steps}")
        return self


class FedCompass(Method):
    """FedCompass: a scheduler that knows the clients' computing power.

    Paper:
        Li, Chaturvedi, He, Chen, Singh, Kindratenko, Huerta, Kim, Madduri, FedCompass: Efficient Cross-Silo Federated
        Learning on Heterogeneous Client Devices Using a Computing Power-Aware Scheduler, ICLR 2024 (arXiv 2309.14675)
    Client:
        Q steps of SGD on CE(fused logits), Q_min <= Q <= Q_max assigned by the server; Q_max in its first round
    Server:
        speed of a client, in seconds per step, at first the last round's own
            s <- (1 - mu) s + mu (time since its dispatch) / Q
        assigned at time t, with T_G when an open group G is expected, T'_G its latest, s_G the speed of its fastest
            join    the group that gives the most Q = floor((T_G - t) / s) in [Q_min, Q_max]
            found   if none does, a group to be met by the fastest of another after its next round:
                    the most Q <= Q_max, at least Q_min, of floor((T'_G + s_G Q_max - t) / s) over G
                    Q = Q_max if there is no such G
                    expected at t + Q s, at the latest at t + lambda Q s
        a group merges when all of it have arrived, or at its latest those that have; they are assigned anew, the
        fastest first; a client that comes later is assigned anew at once, and its update merges with the next group
            theta_g <- theta_g + sum_k (alpha s(tau_k) / N_g) (theta_k,g - theta_g^(v_k)), all N_g holders of g
        a client's first update merges alone on arrival
    Payload:
        as FedBuff: down all groups of the modalities held; up the groups trained, and n_k; Q is not counted
    Waits:
        clients for all their modalities, then for their group, idle; the server for no client beyond a group's latest
    Staleness:
        tau = versions merged since the client's start version; s(tau) = (1 + tau)^-1/2
    Limits:
        * min_steps = max_steps = Q and clients of one speed: they arrive together, as rounds of all
        * latest_time_factor = 1: a client that is slower than estimated is late
        * s is of everything between dispatch and return: transfers and waiting for data count as if they shrank with Q,
          so that where they are long, clients with few steps are late, and join the next group
        * 100 and 20 steps are the published ones; beside methods of E epochs, Q_max should be the steps that these are
    Reconstructed:
        * the algorithm as in the authors' code (APPFL, its scheduler and aggregator, updates sent as differences); all
          defaults as in its example: speed_momentum 0.9, lambda 1.5, alpha 0.9, s polynomial of 1/2, equal weights 1/N
        * a client whose round was lost leaves its group, and is assigned anew at once, with the speed known so far; one
          that is off is assigned when it is on again
        * 1/N per group: N_g
    """

    Options = FedCompassOptions
    options: FedCompassOptions

    def num_steps(self, client: ClientDay) -> int:
        """Return the steps assigned."""
        steps: int = client.role
        return steps

    def serve(self, server: ServerView) -> Process[None]:
        """Assign and merge for ever."""
        options = self.options
        compass = Compass(options.min_steps, options.max_steps, options.speed_momentum, options.latest_time_factor)
        yield from Schedule(server, compass).run()

    def merge(self, model: Parameters, memory: Any, updates: Sequence[ClientUpdate]) -> Parameters:
        """Return theta + sum_k (alpha s(tau_k) / N_g) (theta_k - theta^(v_k)) per group."""
        del memory

        def share(position: int, group: str) -> float:
            update = updates[position]
            return self.options.server.alpha(update) / update.holders[group].num_clients

        return add_deltas(model, updates, share, 1.0)


@dataclass
class Schedule:
    """The server's process: what it has sent out, and what waits."""

    server: ServerView
    compass: Compass
    sent: dict[int, tuple[float, int]] = field(default_factory=dict)
    """When each client was sent out last, and with how many steps."""
    waiting: dict[int, PendingUpdate] = field(default_factory=dict)
    """Updates of clients that wait for their groups."""
    late: list[PendingUpdate] = field(default_factory=list)
    """Updates that came after their groups, for the next merge."""
    deadlines: dict[int, Event] = field(default_factory=dict)
    """The latest arrival of each group that has not merged yet."""

    def run(self) -> Process[None]:
        """Assign and merge for ever."""
        while True:
            self._send_out()
            comes_on = self.server.fleet.next_online_event()
            awaited = [event for event in (*self.deadlines.values(), comes_on) if event is not None]
            returned = yield from self.server.receive(reduce(or_, awaited) if awaited else None)
            if returned is not None:
                self._take_in(returned)
            for number, group in list(self.compass.groups.items()):
                deadline = self.deadlines.get(number)
                is_over = (
                    returned is None and deadline is not None and deadline.processed
                )  # no client is still at the door
                if is_over or not group.at_work:
                    self._close(number)
            self.deadlines = {n: event for n, event in self.deadlines.items() if n in self.compass.groups}

    def _send_out(self) -> None:
        """Assign steps to all clients that are idle and wait for no group, the fastest first."""
        idle = [client for client in sorted(self.server.fleet.idle) if client not in self.waiting]
        now_s, step_s = self.server.now_s, self.compass.step_s
        for client in sorted(idle, key=lambda client: step_s.get(client, 0.0)):
            steps = self.compass.assign(client, now_s)
            self.sent[client] = now_s, steps
            self.server.dispatch({client: steps})
        for number, group in self.compass.groups.items():
            if number not in self.deadlines and group.latest_s > now_s:
                self.deadlines[number] = self.server.timeout(group.latest_s - now_s)

    def _take_in(self, returned: Arrival) -> None:
        """Merge a first update, let others wait for their groups, and keep those that are late."""
        client, update, now_s = returned.client, returned.update, self.server.now_s
        sent_s, steps = self.sent[client]
        found = self.compass.group_of(client)
        if update is None:
            self.compass.leave(client)
            return
        self.compass.measure(client, (now_s - sent_s) / steps)
        if found is None:
            self.server.merge([update])
        elif now_s <= found[1].latest_s:
            self.compass.arrive(client)
            self.waiting[client] = update
        else:
            self.compass.leave(client)
            self.late.append(update)

    def _close(self, number: int) -> None:
        """Merge what has arrived of a group, and what was late for earlier ones."""
        self.deadlines.pop(number, None)
        arrived = self.compass.close(number)
        if arrived:
            self.server.merge([*self.late, *(self.waiting.pop(client) for client in arrived)])
            self.late = []
