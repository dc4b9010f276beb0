"""A world whose times can be worked out on paper, and a server in it.

A local round is download 1 s, then training, then upload 1 s. A mini-batch of one modality takes `step_s` at a client,
a joint one as often as there are modalities (the counted FLOPs of equal encoders add up). Times are fractions inside,
so that they are exact.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from interlude.models.spec import ModelSpec
from interlude.simulator.federation.clock import Clock
from interlude.simulator.federation.server import Server
from interlude.simulator.federation.setting import Population
from interlude.simulator.federation.timeline import Timeline
from interlude.simulator.methods import METHODS
from interlude.simulator.training.evaluation import EvaluationSets
from interlude.simulator.training.executors.executor import Executor
from interlude.simulator.training.executors.sequential import SequentialExecutor
from interlude.simulator.training.executors.timing_only import TimingOnlyExecutor
from interlude.simulator.training.objective import CrossEntropy
from interlude.simulator.training.profile.costs import shared_costs
from interlude.simulator.training.spec import OptimizerSpec, TrainingSpec
from interlude.simulator.world.faults import UploadLossSpec
from interlude.simulator.world.outages import Outages, OutageWindows

_INPUTS, _WIDTH, _NUM_CLASSES = 8, 4, 3


@dataclass
class PaperWorld:
    """A world out of tables; see `interlude.simulator.world.world.World`, whose doors it has."""

    delays_s: Mapping[str, Sequence[float | None]]
    """Per modality and client: seconds from dispatch until the data are there; None: they miss every round."""
    step_s: Sequence[float]
    """Per client: seconds of one mini-batch of one modality."""
    flops_per_step: int
    down_s: float = 1.0
    up_s: float = 1.0
    overhead: float = 0.0
    lost: Mapping[tuple[int, int], float] = field(default_factory=dict)
    """(client, window) -> the fraction of its upload that gets through."""

    crashes: Mapping[tuple[int, int], float] = field(default_factory=dict)
    """(client, window) -> the fraction of its undisturbed local round after which the device dies."""
    lost_attempts: Mapping[tuple[int, int], int] = field(default_factory=dict)
    """(client, window) -> attempts to upload that get lost."""
    upload_loss: UploadLossSpec | None = None
    away: Sequence[tuple[float, float]] = ()
    """[start, end) of the server's outages."""
    on: Mapping[int, Sequence[tuple[float, float]]] | None = None
    """Per client, [on, off) in order; who is not in it is always on. None: availability is no matter."""
    policy: str = "pause"
    shared_bytes_per_s: Mapping[str, float] = field(default_factory=dict)
    own_bytes_per_s: Sequence[float] = ()

    drops_windows = may_train_apart = False

    def __post_init__(self) -> None:
        self.devices = self.links = self.faults = self
        self.availability = None if self.on is None else self
        self.outages = Outages(OutageWindows(kind="windows", windows_s=self.away), 0) if self.away else None

    @property
    def is_uninterrupted(self) -> bool:
        return not (self.crashes or self.lost_attempts or self.away or self.on is not None or self.shared_bytes_per_s)

    def read_ahead(self, clients: Collection[int]) -> None:
        pass

    def next_on(self, client: int, at_s: float) -> float:
        stretches = self.on.get(client, [(0.0, math.inf)])
        return next((max(on_s, at_s) for on_s, off_s in stretches if off_s > at_s), math.inf)

    def remaining_on(self, client: int, at_s: float) -> float:
        stretches = self.on.get(client, [(0.0, math.inf)])
        return next((off_s - at_s for on_s, off_s in stretches if on_s <= at_s < off_s), 0.0)

    def crash_fraction(self, client: int, window: int) -> float:
        return self.crashes.get((client, window), 1.0)

    def num_lost_attempts(self, client: int, window: int) -> int:
        return self.lost_attempts.get((client, window), 0)

    def bytes_per_s(self, client: int, direction: str, window: int) -> float:
        return self.own_bytes_per_s[client]

    def arrivals_s(
        self, client: int, window: int, round_start_s: float, num_samples: int, modalities: Sequence[str]
    ) -> dict[str, float]:
        delays_s = {modality: self.delays_s[modality][client] for modality in modalities}
        return {modality: round_start_s + delay_s for modality, delay_s in delays_s.items() if delay_s is not None}

    def is_slow(self, client: int, window: int) -> bool:
        return False

    def s_per_flop(self, client: int, window: int) -> Fraction:
        return Fraction(self.step_s[client]) / self.flops_per_step

    operation_flops = task_flops = 0
    battery_draws = None

    def overhead_s(self, client: int) -> float:
        return self.overhead

    def transfer_s(self, client: int, direction: str, payload_bytes: int, window: int) -> float:
        assert payload_bytes > 0
        return self.down_s if direction == "down" else self.up_s

    def upload_fraction(self, client: int, window: int) -> float:
        return self.lost.get((client, window), 1.0)


def told(row: Mapping[str, Any]) -> str:
    """Return an activity, with its outcome where the span was interrupted: ``train part``."""
    return row["activity"] if row["outcome"] == "done" else f"{row['activity']} {row['outcome']}"


@dataclass
class Played:
    """What happened up to a moment."""

    spans: list[tuple[int, str, float, float, int | None, str]]
    """(client, activity, start_s, end_s, version, modality) of client after client, as they are drawn; see `told`."""
    merges: list[tuple[int, float, int, int]]
    """(client, at_s, version made, staleness)."""
    rows: list[dict[str, Any]]
    server: Server
    clock: Clock
    world: PaperWorld


def play(
    entry: Mapping[str, Any],
    until_s: float,
    *,
    delays_s: Mapping[str, Sequence[float | None]],
    step_s: Sequence[float] = (1.0, 1.0, 1.0),
    num_samples: int = 4,
    batch_size: int = 4,
    trains: bool = False,
    executor: Executor | None = None,
    held: Sequence[tuple[str, ...]] | None = None,
    method: type | None = None,
    **world: Any,
) -> Played:
    """Play a method's entry on paper times up to a moment.

    Args:
        entry: the method's entry of a scenario.
        until_s: simulated seconds.
        delays_s: see `PaperWorld`.
        step_s: see `PaperWorld`; as many clients as it is long.
        num_samples: samples of every client.
        batch_size: samples of a mini-batch.
        trains: whether a model is trained.
        executor: used instead of one that trains nothing.
        held: modalities of each client; None: all.
        method: its class, where it is not that of the entry's name.
        world: further fields of `PaperWorld`.
    """
    modalities, num_clients = tuple(delays_s), len(step_s)
    cls = METHODS[entry["name"]]
    decides = (method or cls)(cls.Options.model_validate(entry))
    network = decides.network(
        ModelSpec(encoder="mlp", width=_WIDTH), dict.fromkeys(modalities, (_INPUTS,)), _NUM_CLASSES
    )
    training = TrainingSpec(batch_size=batch_size, optimizer=OptimizerSpec(learning_rate=0.1))
    flops = shared_costs(network, batch_size, {}).step(CrossEntropy(modalities[:1]), batch_size).flops
    model = network.shapes
    if trains:
        generator = torch.Generator().manual_seed(0)
        inputs = {m: torch.randn(num_samples, _INPUTS, generator=generator) for m in modalities}
        samples = (inputs, torch.arange(num_samples) % _NUM_CLASSES)
        executor = SequentialExecutor(network, training, 0, samples, EvaluationSets(samples))
        model = network.initial_parameters(generator, torch.device("cpu"))
    tables: list[pa.Table] = []
    clock, timeline = Clock(most_at_once=10_000), Timeline(tables.append)
    paper_world = PaperWorld(delays_s, step_s, flops, **world)
    server = Server(
        clock=clock,
        world=paper_world,
        method=decides,
        network=network,
        model=model,
        executor=executor or TimingOnlyExecutor(),
        training=training,
        population=Population([np.arange(num_samples)] * num_clients, held or [modalities] * num_clients),
        timeline=timeline,
        seed=0,
    )
    clock.advance(until_s)
    server.fleet.finish(until_s)
    timeline.flush()
    rows = [row for table in tables for row in table.to_pylist()]
    by_client = sorted(rows, key=lambda row: (row["client"], row["start_s"], row["end_s"]))
    spans = [
        (row["client"], told(row), row["start_s"], row["end_s"], row["version"], row["modality"] or "")
        for row in by_client
        if row["activity"] != "merge"
    ]
    merges = [
        (row["client"], row["end_s"], row["version"], row["staleness"]) for row in rows if row["activity"] == "merge"
    ]
    return Played(spans, merges, rows, server, clock, paper_world)
