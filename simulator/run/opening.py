"""The opening of a run: its first part, played without training."""

import math
from dataclasses import replace
from typing import NamedTuple

import pyarrow as pa

from interlude.simulator.errors import CannotRunError, InterludeError, UserCodeError
from interlude.simulator.federation.accounting.rows import Rows
from interlude.simulator.federation.setting import Population
from interlude.simulator.record.sink import TimelineInMemory
from interlude.simulator.run.build import Ingredients, blaming_method
from interlude.simulator.run.loop import Run
from interlude.simulator.run.spec import RunSpec


class Counts(NamedTuple):
    """What had happened by a moment of a run."""

    time_s: float
    versions: int
    local_rounds: int
    events: int
    """Without conditions."""
    conditions: int
    """Events of the server's waiting for one of several events."""


class Opening:
    """The first part of one run, advanced step by step.

    Args:
        spec: the run.
        ingredients: everything that the run needs.
        num_clients: its first clients take part; the others are left out.
    """

    def __init__(self, spec: RunSpec, ingredients: Ingredients, num_clients: int) -> None:
        population = ingredients.population
        self.num_clients = num_clients
        self.scale = len(population.shards) / num_clients
        """Clients of the run per client that takes part."""
        until = spec.scenario.until
        self._limit_s = until.simulated_s or math.inf
        self._last_version = until.versions / self.scale if until.versions else math.inf
        played = Population(population.shards[:num_clients], population.modalities[:num_clients])
        self._sink = TimelineInMemory()
        self._options = spec.options
        with blaming_method(spec.options):
            self.run = Run(replace(spec, timing_only=True), replace(ingredients, population=played), self._sink)
        self._num_conditions = 0
        self.marks = [self.now]
        """The counts at the start and at every version."""
        self.is_over = False
        """Whether it is the whole run."""

    @property
    def now(self) -> Counts:
        """The counts so far."""
        clock, server = self.run.clock, self.run.server
        num_events = clock.num_events - self._num_conditions
        return Counts(clock.now, server.version, server.fleet.num_returned, num_events, self._num_conditions)

    @property
    def end_s(self) -> float:
        """When the opening ends, in simulated seconds: with the run, or now."""
        is_at_limit = self.is_over and math.isfinite(self._limit_s) and self.now.versions < self._last_version
        return self._limit_s if is_at_limit else self.run.clock.now

    def advance(self, last_event: int) -> None:
        """Advance to an event, or to the end of the run.

        Raises:
            CannotRunError: if the clock cannot be advanced.
        """
        try:
            with blaming_method(self._options):
                self._advance(last_event)
        except UserCodeError:
            raise
        except InterludeError as error:
            raise CannotRunError(f"'{self._options.run_label}' cannot run: {error}") from error

    def _advance(self, last_event: int) -> None:
        clock, server = self.run.clock, self.run.server
        version = server.version
        while clock.num_events < last_event and not self.is_over:
            num_events, is_condition = clock.num_events, clock.is_next_a_condition
            has_arrived = clock.advance(self._limit_s, num_events + 1)
            self._num_conditions += is_condition and clock.num_events > num_events
            if server.version != version:
                version = server.version
                self.marks.append(self.now)
            self.is_over = has_arrived or version >= self._last_version

    def steady(self) -> tuple[Counts, Counts]:
        """Return the counts at two moments between which the run is typical: both at a version, if there are any.

        At the start all clients begin together, so the first half of the versions is left out.
        """
        made = len(self.marks) - 1
        return (self.marks[made // 2], self.marks[made]) if made else (self.marks[0], self.now)

    def rows(self) -> Rows:
        """End the opening and return the rows of its timeline, but for clients that are idle at its end."""
        self.run.finish(self.end_s, with_idle=False)
        return Rows.of(pa.concat_tables(self._sink.parts))
