"""What a run may need at most: a scenario that would need more is refused before anything of it is made."""

import math
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt

from interlude.models.network import Network
from interlude.simulator.errors import CannotRunError
from interlude.simulator.training.executors.strategy import Strategy, client_bytes

_CLIENT_BYTES = 2_000
"""What a client costs that never acts: its rows in arrays and lists, counted generously."""


class LimitsSpec(BaseModel):
    """The ``limits`` section of a scenario: what a run may need at most."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    events: PositiveInt = Field(
        1_000_000_000, description="events of the clock and evaluations; the default takes hours without any training"
    )
    memory_gb: PositiveFloat = Field(
        64.0, description="memory for models and clients beside the data set, by count, before anything is allocated"
    )


@dataclass(frozen=True)
class Needs:
    """What one run would need, estimated before it begins."""

    label: str
    """The method's label."""
    events: float
    """Events of the clock; infinite where simulated time stands still."""
    evaluations: float
    simulated_s: float
    """When the run would end; infinite where nothing tells."""
    memory_bytes: float

    def check(self, limits: LimitsSpec) -> None:
        """Refuse a run that needs more than its limits.

        Raises:
            CannotRunError: with the numbers.
        """
        events = self.events + self.evaluations
        if math.isinf(self.events):
            raise CannotRunError(
                f"limits.events: '{self.label}' needs events without end, but at most {_count(limits.events)} are "
                "allowed; its simulated time stands still: something in 'world' must take time"
            )
        if events > limits.events:
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


def extrapolated(
    label: str,
    played_events: int,
    played_s: float,
    played_versions: int,
    *,
    simulated_s: float | None,
    versions: int | None,
    is_over: bool,
    every_s: float,
    memory_bytes: float,
) -> Needs:
    """Return what a whole run needs, from a little of it that was played.

    A run that ends after versions of which none was made yet is taken to need one event for each: too few, so that
    nothing is refused that might do.

    Args:
        label: the method's label.
        played_events: events played.
        played_s: simulated seconds played.
        played_versions: versions made in them.
        simulated_s: simulated seconds after which the run ends; None for no such end.
        versions: versions after which it ends; None for no such end.
        is_over: whether the run came to its end.
        every_s: simulated seconds between two evaluations.
        memory_bytes: what it needs of memory.
    """
    share = max(played_s / simulated_s if simulated_s else 0.0, played_versions / versions if versions else 0.0)
    if is_over or share >= 1.0:
        events, end_s = float(played_events), played_s
    elif share > 0.0:
        events, end_s = played_events / share, played_s / share
    elif versions is None:
        events, end_s = math.inf, math.inf
    else:
        events, end_s = float(max(played_events, versions)), played_s
    end_s = min(end_s, simulated_s or math.inf)
    evaluations = end_s / every_s if math.isfinite(end_s) else 0.0
    return Needs(label, events, evaluations, end_s, memory_bytes)


def training_bytes(
    network: Network, strategy: Strategy, batch_size: int, num_in_flight: int, num_starts: int, num_kept: int
) -> int:
    """Return the memory that training takes: models alive, and one group of clients in training.

    Args:
        network: what is trained.
        strategy: how.
        batch_size: samples of the largest mini-batch.
        num_in_flight: most clients at work; each has a result of its own.
        num_starts: most versions of the model that they started from.
        num_kept: versions kept for evaluation.
    """
    model_bytes = sum(network.group_bytes.values())
    group = min(strategy.group_size, num_in_flight)
    return model_bytes * (num_in_flight + num_starts + num_kept) + group * client_bytes(network, batch_size)


def population_bytes(num_clients: int, num_samples: int) -> int:
    """Return the memory of clients and of who holds which of the samples."""
    return num_clients * _CLIENT_BYTES + num_samples * 8


def _count(value: float) -> str:
    return f"{value:,.0f}" if 10 <= value < 1e15 else f"{value:.3g}"
