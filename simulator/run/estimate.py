"""Estimates what a run needs and produces, by a short timing-only simulation."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import torch

from interlude.simulator.errors import CannotRunError, InterludeError
from interlude.simulator.federation.timeline import SCHEMA
from interlude.simulator.record.sink import NullSink, Sink, TimelineInMemory
from interlude.simulator.run.build import Ingredients, Testbed
from interlude.simulator.run.first_rounds import FirstRounds
from interlude.simulator.run.limits import Needs, extrapolated, population_bytes, training_bytes
from interlude.simulator.run.loop import Run
from interlude.simulator.run.observer import MOST_OBSERVATIONS
from interlude.simulator.run.spec import RunSpec, run_specs
from interlude.simulator.training.executors.strategy import choose_strategy

_PLAYED_EVENTS = 1_000
_PLAYED_EVENTS_PER_CLIENT = 20
"""Events simulated to estimate needs: a few rounds of a few clients; per client, where those overestimate."""
_PLAYED_ROUNDS = 5
_MOST_PLAYED_EVENTS = 50_000
"""Length of the simulation for a full estimate: rounds of the slowest client, or a number of events."""


@dataclass(frozen=True)
class Estimate:
    """The needs of one run, and its totals extrapolated from its first moments."""

    needs: Needs
    played_s: float
    """Seconds of simulated time that the estimate is based on."""
    bytes_down: float
    """Median payload of a download; NaN where there was none."""
    bytes_up: float
    """Median payload of an upload; NaN where there was none."""
    local_rounds: float
    num_bytes: float
    """Payload moved in both directions."""
    lost_rounds: Mapping[str, int]
    """Lost local rounds of the simulated part, by reason."""
    num_lost_rounds: float
    lost_device_s: float
    lost_bytes: float
    updates_dropped: float
    """Updates that are too stale to be merged."""
    stalled_s: float
    """Device-seconds of waiting for the server during outages."""
    off_share: float
    """Share of the clients' time that they are off."""


def check_limits(testbed: Testbed, device: torch.device, *, timing_only: bool = False) -> list[Needs]:
    """Return what each method of a scenario needs, from a short timing-only simulation.

    Args:
        testbed: the data set, clients and world that the methods share.
        device: where they would train.
        timing_only: whether they would not train at all.

    Raises:
        CannotRunError: with the numbers, if one needs more than the scenario's limits allow, or cannot be simulated.
    """
    plays = (
        _Play(spec, testbed.ingredients(spec.options), NullSink())
        for spec in run_specs(testbed.scenario, Path(), device, timing_only)
    )
    return [play.checked_needs() for play in plays]


def estimate(testbed: Testbed, device: torch.device, rounds: FirstRounds) -> list[Estimate]:
    """Return the needs and totals of each method of a scenario, from one timing-only simulation.

    Args:
        testbed: the data set, clients and world that the methods share.
        device: where they would train.
        rounds: durations of first local rounds; five of the slowest client are simulated, or 50,000 events.

    Raises:
        CannotRunError: with the numbers, if one needs more than the scenario's limits allow, or cannot be simulated.
    """
    horizon_s = _PLAYED_ROUNDS * float(rounds.total_s.max())
    found = []
    for spec in run_specs(testbed.scenario, Path(), device, timing_only=False):
        sink = TimelineInMemory()
        play = _Play(spec, testbed.ingredients(spec.options), sink)
        play.checked_needs()
        play.advance(horizon_s, _MOST_PLAYED_EVENTS)
        found.append(_estimated(play, sink))
    return found


class _Play:
    """The first moments of a run, simulated without training.

    Args:
        spec: the run.
        ingredients: everything that the run needs.
        sink: receives its timeline.

    Raises:
        CannotRunError: if its models and clients take more memory than the scenario's limits allow.
    """

    def __init__(self, spec: RunSpec, ingredients: Ingredients, sink: Sink) -> None:
        self.spec = spec
        self.num_clients = ingredients.population.num_clients
        self._num_bytes = population_bytes(self.num_clients, len(ingredients.dataset.train[1]))
        if not spec.timing_only:
            self._num_bytes += _training_bytes(spec, ingredients)
        Needs(spec.options.run_label, 0.0, 0.0, 0.0, self._num_bytes).check(spec.scenario.limits)
        self.run = Run(replace(spec, timing_only=True), ingredients, sink)
        self._limit_s = spec.scenario.until.simulated_s or math.inf
        self._is_over = False
        self.played_s = 0.0
        """Simulated seconds so far."""

    def advance(self, until_s: float, last_event: int) -> None:
        """Advance to a moment or an event, whichever comes first, or to the end of the run.

        Raises:
            CannotRunError: if the clock cannot be advanced.
        """
        until_s = min(until_s, self._limit_s)
        if self._is_over or until_s < self.played_s:
            return
        clock = self.run.clock
        try:
            is_there = clock.advance(until_s, last_event)
        except InterludeError as error:
            raise CannotRunError(f"'{self.spec.options.run_label}' cannot run: {error}") from error
        self.played_s = until_s if is_there and not clock.is_stopped and math.isfinite(until_s) else clock.now
        self._is_over = is_there and (clock.is_stopped or clock.is_at_rest or until_s == self._limit_s)

    def checked_needs(self) -> Needs:
        """Return what the run needs, estimated from few of its events.

        Raises:
            CannotRunError: if it is more than the scenario's limits allow.
        """
        limits = self.spec.scenario.limits
        self.advance(math.inf, _PLAYED_EVENTS)
        needs = self.needs()
        if needs.events + needs.evaluations > limits.events:
            # With many clients the first moments, when all start at once, are not typical: estimate again, later.
            self.advance(math.inf, min(_PLAYED_EVENTS_PER_CLIENT * self.num_clients, limits.events))
            needs = self.needs()
        needs.check(limits)
        return needs

    def needs(self) -> Needs:
        """Return what the run needs, estimated from its events so far."""
        scenario = self.spec.scenario
        return extrapolated(
            self.spec.options.run_label,
            self.run.clock.num_events,
            self.played_s,
            self.run.server.version,
            simulated_s=scenario.until.simulated_s,
            versions=scenario.until.versions,
            is_over=self._is_over,
            every_s=scenario.evaluate.every_s,
            memory_bytes=self._num_bytes,
        )


def _estimated(play: _Play, sink: TimelineInMemory) -> Estimate:
    """Return the totals of the whole run, extrapolated from the simulated part, which ends here."""
    run, until, played_s = play.run, play.spec.scenario.until, play.played_s
    run.finish(played_s)
    timeline = pa.concat_tables([SCHEMA.empty_table(), *sink.parts]).to_pandas()
    run.server.losses.add_rows(timeline)
    lost = run.server.losses.totals()
    sent = timeline[timeline["bytes"] > 0]
    median_bytes = sent[sent["outcome"] == "done"].groupby("activity")["bytes"].median()
    paces = [until.simulated_s / played_s] if until.simulated_s is not None else []
    paces += [until.versions / max(run.server.version, 1)] if until.versions is not None else []
    pace = min(paces)
    return Estimate(
        needs=play.needs(),
        played_s=played_s,
        bytes_down=float(median_bytes.get("download", math.nan)),
        bytes_up=float(median_bytes.get("upload", math.nan)),
        local_rounds=run.server.fleet.num_returned * pace,
        num_bytes=float(sent["bytes"].sum()) * pace,
        lost_rounds=lost["rounds"],
        num_lost_rounds=sum(lost["rounds"].values()) * pace,
        lost_device_s=lost["device_s"] * pace,
        lost_bytes=(lost["bytes_up"] + lost["bytes_down"]) * pace,
        updates_dropped=lost["updates_dropped"] * pace,
        stalled_s=lost["stalled_s"] * pace,
        off_share=lost["off_s"] / (play.num_clients * played_s) if played_s else 0.0,
    )


def _training_bytes(spec: RunSpec, ingredients: Ingredients) -> int:
    training = spec.scenario.training
    largest = max(len(shard) for shard in ingredients.population.shards)
    batch_size = min(training.batch_size, training.window_samples or largest, largest)
    strategy = choose_strategy(spec.scenario.executor, ingredients.network, spec.device, batch_size)
    in_flight = spec.options.server.in_flight(ingredients.population.num_clients)
    return training_bytes(
        ingredients.network, strategy, batch_size, in_flight.num_clients, in_flight.num_versions, MOST_OBSERVATIONS
    )
