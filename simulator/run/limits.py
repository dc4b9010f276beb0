"""Limits of a run: a scenario that would need more is refused before anything is built."""

import math
from dataclasses import dataclass

from interlude.models.network import Network
from interlude.simulator.errors import CannotRunError
from interlude.simulator.scenario.scenario import Scenario
from interlude.simulator.scenario.sections import LimitsSpec
from interlude.simulator.training.executors.strategy import Strategy, client_bytes

PROGRAM_BYTES = 570_000_000
"""Memory of the program itself, its libraries and its buffers, measured on Linux; no limit counts it."""
_CLIENT_BYTES = 220
"""Memory of a client that never acts, in bytes: its rows in arrays and lists, measured."""


@dataclass(frozen=True)
class Needs:
    """The needs of one run, estimated before it begins."""

    label: str
    """The method's label."""
    events: float
    """Events of the clock; infinite if simulated time stands still, NaN if only an accuracy ends the run."""
    evaluations: float
    simulated_s: float
    """When the run would end, in simulated seconds; NaN if only an accuracy ends it."""
    memory_bytes: float
    is_bound: bool = False
    """Whether the events are a bound, which a world with batteries may never come to."""

    def check(self, limits: LimitsSpec) -> None:
        """Refuse a run that needs more than its limits; a bound above that of events refuses none.

        Raises:
            CannotRunError: with the numbers.
        """
        events = self.events + self.evaluations
        if math.isinf(self.events):
            raise CannotRunError(
                f"limits.events: '{self.label}' needs infinitely many events, but at most {_count(limits.events)} are "
                "allowed; its simulated time stands still: something in 'world' must take time"
            )
        if events > limits.events and not self.is_bound:
            most = f", {_count(self.evaluations)} of them evaluations" if self.evaluations > self.events else ""
            raise CannotRunError(
                f"limits.events: '{self.label}' needs about {_count(events)} events{most}, but at most "
                f"{_count(limits.events)} are allowed; shorten 'until', evaluate less often, or raise the limit"
            )
        if self.memory_bytes > limits.memory_gb * 1e9:
            raise CannotRunError(
                f"limits.memory_gb: '{self.label}' needs about {_count(self.memory_bytes / 1e9)} GB for its models and "
                f"clients, but at most {_count(limits.memory_gb)} GB are allowed; make the model, the batches or the "
                "number of clients at work smaller, or raise the limit"
            )


def training_bytes(
    network: Network,
    strategy: Strategy,
    batch_size: int,
    *,
    num_in_flight: int,
    num_results: int,
    num_starts: int,
    num_kept: int,
) -> int:
    """Return the memory that training takes: models alive, and one group of clients in training.

    Args:
        network: the trained network.
        strategy: how groups of clients are trained.
        batch_size: samples of the largest mini-batch.
        num_in_flight: most clients at work.
        num_results: most results that wait to be merged.
        num_starts: most model versions that they started from.
        num_kept: versions kept for evaluation.
    """
    model_bytes = sum(network.group_bytes.values())
    group = min(strategy.group_size, num_in_flight)
    return model_bytes * (num_results + num_starts + num_kept) + group * client_bytes(network, batch_size)


def check_population(scenario: Scenario, num_samples: int) -> None:
    """Refuse a scenario whose clients alone take more memory than its limits allow, before any is drawn.

    Args:
        scenario: the scenario.
        num_samples: of the training set.

    Raises:
        CannotRunError: with the numbers.
    """
    num_bytes = population_bytes(scenario.clients.count, num_samples)
    Needs(scenario.name, 0.0, 0.0, 0.0, num_bytes).check(scenario.limits)


def population_bytes(num_clients: int, num_samples: int) -> int:
    """Return the memory of clients and of the partition, in bytes."""
    return num_clients * _CLIENT_BYTES + num_samples * 8


def _count(value: float) -> str:
    return f"{value:,.0f}" if 10 <= value < 1e15 else f"{value:.3g}"
