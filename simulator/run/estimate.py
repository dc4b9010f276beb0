"""Estimates what a run needs and produces, from its opening: a short timing-only play."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from interlude.models.drawn import POOL_BYTES
from interlude.simulator.arrays import Floats
from interlude.simulator.data.dataset import sample_bytes
from interlude.simulator.errors import CannotRunError
from interlude.simulator.federation.accounting.rows import Rows
from interlude.simulator.federation.rules import Barrier, Buffered
from interlude.simulator.federation.timeline import Activity
from interlude.simulator.methods.base import Method
from interlude.simulator.run.build import Ingredients, Testbed
from interlude.simulator.run.first_rounds import first_rounds
from interlude.simulator.run.limits import Needs, population_bytes, training_bytes
from interlude.simulator.run.observer import MOST_OBSERVATIONS
from interlude.simulator.run.opening import Counts, Opening
from interlude.simulator.run.presence import Presence, last_start_s
from interlude.simulator.run.spec import RunSpec, run_specs
from interlude.simulator.training.executors.strategy import choose_strategy
from interlude.simulator.training.host import few_collections

_LEAST_EVENTS = 3_000
_MOST_EVENTS = 50_000
_PLAYED_SHARE = 0.05
"""Events of an opening: this share of the run's, within bounds."""
_LEAST_VERSIONS = 3
"""Versions of an opening, unless they take more events than `_MOST_EVENTS` and some of each client."""
_MOST_EVENTS_PER_CLIENT = 10
_CLIENTS_PER_PLAYED = 16
_LEAST_SAMPLE = 100
"""Clients of an opening where some are left out: this many, or one of so many."""
_LEAST_LOCAL_ROUNDS = 500
"""Local rounds that show how many events one takes."""
_SHORTEST = 1e-6
"""A local round counts for no shorter than this share of the longest one."""
_HOPELESS = 100
"""An estimate so many times above the limit is not improved."""


@dataclass(frozen=True)
class Estimate:
    """The needs and totals of one run, extrapolated from its opening."""

    needs: Needs
    played_s: float
    """Seconds of simulated time that the estimate is based on."""
    played_clients: int
    """Clients that it is based on."""
    bytes_down: float
    """Median payload of a download; NaN where there was none."""
    bytes_up: float
    """Median payload of an upload; NaN where there was none."""
    versions: float
    local_rounds: float
    num_bytes: float
    """Payload moved in both directions."""
    lost_rounds: Mapping[str, int]
    """Lost local rounds of the opening, by reason."""
    num_lost_rounds: float
    lost_device_s: float
    lost_bytes: float
    updates_dropped: float
    """Updates that are too stale to be merged."""
    stalled_s: float
    """Device-seconds of waiting for the server during outages."""
    off_share: float
    """Share of the clients' time that they are off."""


class _Whole(NamedTuple):
    """The counts of a whole run."""

    end_s: float
    versions: float
    local_rounds: float
    events: float
    growth: float = 0.0
    """The part after the last mark of the opening, as a multiple of that between its marks."""


_UNKNOWN = _Whole(math.nan, math.nan, math.nan, math.nan, math.nan)
"""Of a run that only its accuracy ends."""


def estimate(testbed: Testbed, device: torch.device, *, timing_only: bool = False) -> list[Estimate]:
    """Return the needs and totals of each method of a scenario, each from one timing-only play.

    Args:
        testbed: the data set, clients and world that the methods share.
        device: where they would train.
        timing_only: whether they would not train at all.

    Raises:
        CannotRunError: with the numbers, if one needs more than the scenario's limits allow, or cannot be simulated.
    """
    until = testbed.scenario.until
    if timing_only and until.simulated_s is None and until.versions is None:
        raise CannotRunError(
            "until: nothing is trained in a timing-only run, so no accuracy ends it; add 'simulated_s' or 'versions'"
        )
    with few_collections():
        return [_estimated(spec, testbed) for spec in run_specs(testbed.scenario, Path(), device, timing_only)]


def _estimated(spec: RunSpec, testbed: Testbed) -> Estimate:
    """Play the opening of a run and return the estimate of the whole."""
    ingredients = testbed.ingredients(spec.options)
    scenario, label = spec.scenario, spec.options.run_label
    memory_bytes = _memory_bytes(spec, ingredients)
    Needs(label, 0.0, 0.0, 0.0, memory_bytes).check(scenario.limits)
    num_clients = ingredients.population.num_clients
    num_played = _num_played(ingredients)
    opening = Opening(spec, ingredients, num_played)
    in_flight = spec.options.server.in_flight(num_clients).num_clients
    counts_alike = ingredients.world.availability is None or not _all_are_in_flight(ingredients)
    rates = None if counts_alike else partial(_rates, testbed, spec)
    presence = Presence(ingredients.world, num_played, in_flight, rates)
    most_events = _MOST_EVENTS + _MOST_EVENTS_PER_CLIENT * num_played
    target = _LEAST_EVENTS
    while True:
        opening.advance(target)
        whole = _extrapolated(spec, ingredients, opening, presence)
        events = opening.run.clock.num_events
        is_hopeless = _HOPELESS * scenario.limits.events < whole.events < math.inf
        if opening.is_over or events >= most_events or is_hopeless or whole is _UNKNOWN:
            break
        wanted = min(_PLAYED_SHARE * whole.events, _MOST_EVENTS)
        if opening.now.versions < _LEAST_VERSIONS:
            wanted = max(wanted, 2.0 * events)
        if wanted <= events:
            break
        target = min(math.ceil(wanted), most_events)
    if num_played < num_clients and whole is not _UNKNOWN:
        whole = _with_the_events_of_all(spec, ingredients, whole, events)
    evaluations = math.ceil(whole.end_s / scenario.evaluate.every_s) + 1 if math.isfinite(whole.end_s) else 0
    is_bound = ingredients.world.battery_draws is not None
    needs = Needs(label, whole.events, evaluations, whole.end_s, memory_bytes, is_bound)
    needs.check(scenario.limits)
    return _totals(opening, presence, whole, needs)


def _rates(testbed: Testbed, spec: RunSpec, clients: Sequence[int]) -> Floats:
    """Return how many local rounds clients make in a second while they are on, by their first ones."""
    rounds = first_rounds(testbed, clients, spec.training)
    durations_s = rounds.shortest_s if spec.options.waiting == "first" else rounds.total_s
    return 1.0 / np.maximum(durations_s, _SHORTEST * durations_s.max()) if durations_s.any() else np.ones(len(clients))


def _num_played(ingredients: Ingredients) -> int:
    """Return how many clients an opening has: fewer than all only where each acts for itself."""
    num_clients, method = ingredients.population.num_clients, ingredients.method
    acts_for_itself = (
        _all_are_in_flight(ingredients)
        and not method.selects
        and type(method).serve is Method.serve
        and not ingredients.world.links.shared_bytes_per_s
    )
    return min(num_clients, max(_LEAST_SAMPLE, num_clients // _CLIENTS_PER_PLAYED)) if acts_for_itself else num_clients


def _all_are_in_flight(ingredients: Ingredients) -> bool:
    """Return whether every client is dispatched as soon as it is on and idle."""
    rule, num_clients = ingredients.method.options.server, ingredients.population.num_clients
    if isinstance(rule, Barrier) or rule.max_staleness is not None:
        return False
    if isinstance(rule, Buffered) and rule.pace is not None:
        return False  # few clients would merge as often as many
    return rule.in_flight(num_clients).num_clients == num_clients


def _extrapolated(spec: RunSpec, ingredients: Ingredients, opening: Opening, presence: Presence) -> _Whole:
    """Return the counts of a whole run: those of its opening, and on from there at its rates per client that is on."""
    until, scale, now = spec.scenario.until, opening.scale, opening.now
    if opening.is_over:
        counts = (scale * count for count in (now.versions, now.local_rounds, now.events + now.conditions))
        return _Whole(opening.end_s, *counts)
    if until.simulated_s is None and until.versions is None:
        return _UNKNOWN
    before, after = opening.steady()
    has_rounds = isinstance(spec.options.server, Barrier)
    span_s, client_s = after.time_s - before.time_s, presence.client_s(before.time_s, after.time_s)
    made = (after.versions - before.versions) * scale
    growth, end_s = math.inf, math.inf
    if until.simulated_s is not None:
        end_s = until.simulated_s
        growth = presence.client_s(after.time_s, end_s) / client_s if client_s else math.inf
    is_by_versions = False
    if until.versions is not None and made:
        by_versions = (until.versions - after.versions * scale) / made
        if is_by_versions := by_versions < growth:
            growth, end_s = by_versions, after.time_s + by_versions * span_s
            if not has_rounds:
                end_s = _moment_of_growth(growth, before, after, presence)
    if not math.isfinite(growth) and until.versions is not None:
        # no version so far, of those it takes: one event each is a lower bound, which refuses no run
        return _Whole(now.time_s, 0.0, now.local_rounds * scale, max(now.events * scale, float(until.versions)))
    first, last = np.array(before), np.array(after)
    steps = np.where(last > first, last - first, 0.0)  # nothing grows without end that has not begun
    with np.errstate(invalid="ignore"):
        _, versions, local_rounds, events, conditions = scale * (last + np.where(steps > 0, growth * steps, 0.0))
    if is_by_versions and until.versions is not None:
        versions = float(until.versions)
    elif has_rounds and (round_s := presence.client_s(before.time_s, after.time_s, 1.0)):
        # a round takes its time, however many clients are in it
        versions = min(versions, last[1] + steps[1] * presence.client_s(after.time_s, end_s, 1.0) / round_s)
    conditions = scale * (last[4] + growth * steps[4] * _waiting_share(ingredients, after.time_s, end_s))
    return _Whole(end_s, float(versions), float(local_rounds), float(events + conditions), growth)


def _waiting_share(ingredients: Ingredients, start_s: float, end_s: float) -> float:
    """Return the share of a span in which the server waits for a client to be on, besides for clients to return.

    A client that goes off in its local round is not waited for where the work is continued, so only first starts are.
    """
    availability, rule = ingredients.world.availability, ingredients.method.options.server
    has_timeout = isinstance(rule, Buffered) and rule.timeout_s is not None
    if availability is None or availability.policy == "lose" or has_timeout or not _all_are_in_flight(ingredients):
        return 1.0
    waits_s = last_start_s(ingredients.world, ingredients.population.num_clients) - start_s
    return min(1.0, max(0.0, waits_s / (end_s - start_s))) if end_s > start_s else 1.0


def _with_the_events_of_all(spec: RunSpec, ingredients: Ingredients, whole: _Whole, most_events: int) -> _Whole:
    """Return the counts with the events that a local round takes where all clients take part.

    Clients that return at one instant share events of the server.
    """
    opening = Opening(spec, ingredients, ingredients.population.num_clients)
    for last_event in range(_LEAST_EVENTS, most_events + 1, _LEAST_EVENTS):
        opening.advance(last_event)
        if opening.now.local_rounds >= _LEAST_LOCAL_ROUNDS:
            break
    else:
        return whole
    _, after = opening.steady()
    conditions = after.conditions * _waiting_share(ingredients, 0.0, whole.end_s)
    return whole._replace(events=whole.local_rounds * (after.events + conditions) / after.local_rounds)


def _moment_of_growth(growth: float, before: Counts, after: Counts, presence: Presence) -> float:
    """Return when a run has grown by a multiple of what it did between two moments."""
    span_s = growth * (after.time_s - before.time_s)
    needed = growth * presence.client_s(before.time_s, after.time_s)
    for _ in range(4):
        found = presence.client_s(after.time_s, after.time_s + span_s)
        if not found:
            break
        span_s *= needed / found
    return after.time_s + span_s


def _totals(opening: Opening, presence: Presence, whole: _Whole, needs: Needs) -> Estimate:
    """Return the estimate of a whole run, of which the opening ends here."""
    scale, played_s = opening.scale, opening.end_s
    before, after = opening.steady()
    rows = opening.rows()
    opening.run.server.losses.add_rows(rows)
    lost = opening.run.server.losses.totals()
    num_bytes = float(rows.num_bytes.sum())
    if not opening.is_over:
        first, last = (float(rows.num_bytes[rows.end_s <= mark.time_s].sum()) for mark in (before, after))
        num_bytes = last + whole.growth * (last - first)
    num_returned = opening.now.local_rounds
    pace = whole.local_rounds / num_returned if num_returned else scale
    return Estimate(
        needs=needs,
        played_s=played_s,
        played_clients=opening.num_clients,
        bytes_down=_median_bytes(rows, "download"),
        bytes_up=_median_bytes(rows, "upload"),
        versions=whole.versions,
        local_rounds=whole.local_rounds,
        num_bytes=num_bytes * scale,
        lost_rounds=lost["rounds"],
        num_lost_rounds=sum(lost["rounds"].values()) * pace,
        lost_device_s=lost["device_s"] * pace,
        lost_bytes=(lost["bytes_up"] + lost["bytes_down"]) * pace,
        updates_dropped=lost["updates_dropped"] * pace,
        stalled_s=lost["stalled_s"] * pace,
        off_share=presence.off_share(whole.end_s),
    )


def _median_bytes(rows: Rows, activity: Activity) -> float:
    """Return the median payload of the transfers of a kind that were completed; NaN where there was none."""
    moved = rows.num_bytes[rows.do(activity) & rows.ended("done") & (rows.num_bytes > 0)]
    return float(np.median(moved)) if len(moved) else math.nan


def _memory_bytes(spec: RunSpec, ingredients: Ingredients) -> int:
    """Return the memory that a run's clients, models and samples of their own to evaluate take."""
    num_clients = ingredients.population.num_clients
    num_bytes = population_bytes(num_clients, ingredients.dataset.num_stored)
    if spec.timing_only:
        return num_bytes
    training = spec.training
    largest = int(ingredients.population.num_samples.max())
    batch_size = min(training.batch_size, training.window_samples or largest, largest)
    strategy = choose_strategy(spec.scenario.executor, ingredients.network, spec.device, batch_size)
    rule = spec.options.server
    in_flight = rule.in_flight(num_clients)
    one_by_one = isinstance(rule, Barrier) and ingredients.method.merges_plainly and training.on_divergence == "stop"
    train, num_references = ingredients.dataset.train, spec.scenario.evaluate.nearest_mean_samples or 0
    num_copied = len(ingredients.validation) + min(num_references, ingredients.dataset.num_stored)
    num_bytes += num_copied * sample_bytes(train)
    if ingredients.dataset.drawn is not None:
        num_bytes += min(POOL_BYTES, int(ingredients.population.num_samples.sum()) * sample_bytes(train))
    return num_bytes + training_bytes(
        ingredients.network,
        strategy,
        batch_size,
        num_in_flight=in_flight.num_clients,
        num_results=min(in_flight.num_clients, strategy.group_size + 1) if one_by_one else in_flight.num_clients,
        num_starts=in_flight.num_versions,
        num_kept=MOST_OBSERVATIONS if strategy.stacks else 1,  # else each is evaluated at once
    )
