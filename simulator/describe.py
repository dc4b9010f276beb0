"""Words and numbers for people: what a scenario would run, what a method does, how a comparison came out."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from pydantic.fields import FieldInfo

from models.encoders import ENCODERS
from models.network import Network
from simulator.data import DATASETS
from simulator.experiment import populate
from simulator.methods import METHODS
from simulator.methods.base import Method
from simulator.scenario import Scenario, method_class
from simulator.training.cost import CostModel
from simulator.training.objective import CrossEntropy
from simulator.training.task import Stint, num_reported_bytes
from simulator.world.distributions import DISTRIBUTIONS
from simulator.world.world import World


@dataclass(frozen=True)
class Rows:
    """A table of text."""

    cells: Sequence[Sequence[str]]
    header: Sequence[str] = ()
    numbers: frozenset[int] = frozenset()
    """Columns that are right-aligned."""


def plan(scenario: Scenario) -> Iterator[tuple[str, Rows]]:
    """Yield tables about what a scenario would run.

    Raises:
        BadInputError: if its population cannot be made.
    """
    dataset = DATASETS[scenario.data.dataset].load(scenario.data)
    population = populate(scenario, dataset)
    network = Network(scenario.model, dataset.input_shapes, dataset.num_classes)
    sizes = np.array([len(shard) for shard in population.shards])
    ends = [f"{scenario.until.simulated_s:g} simulated s"] if scenario.until.simulated_s else []
    ends += [f"{scenario.until.versions} versions"] if scenario.until.versions else []
    yield scenario.name, Rows(
        [
            ("data", f"{scenario.data.dataset}: {len(dataset.train[1])} training, {len(dataset.test[1])} test samples"),
            ("modalities", ", ".join(f"{m} {list(shape)}" for m, shape in dataset.input_shapes.items())),
            ("clients", f"{len(sizes)} with {sizes.min()} to {sizes.max()} samples (median {np.median(sizes):g})"),
            ("model", ", ".join(f"{group} {_bytes(size)}" for group, size in network.group_bytes.items())),
            ("runs", f"{len(scenario.methods)} methods, seed {scenario.seed}, each until {' or '.join(ends)}"),
        ]
    )
    world = World(scenario.world, scenario.seed, population.num_clients, dataset.modalities)
    rows = []
    for options in scenario.methods:
        method = method_class(options.name)(options)
        costs = CostModel(network, scenario.training.batch_size, method.broadcast(method.initial_memory(network)))
        down_bytes = sum(network.group_bytes.values())
        down_bytes += num_reported_bytes(method.broadcast(method.initial_memory(network)))
        joint = CrossEntropy(dataset.modalities)
        busy_s, wait_s = [], []
        for client, shard in enumerate(population.shards):
            num_samples = min(len(shard), scenario.training.window_samples or len(shard))
            steps = costs.num_steps(num_samples, scenario.training.local_epochs)
            flops = costs.stint_flops(Stint(joint, steps, "joint"), num_samples)
            up_s = world.links.transfer_s(client, "up", sum(network.group_bytes.values()), 0)
            down_s = world.links.transfer_s(client, "down", down_bytes, 0)
            busy_s.append(up_s + down_s + world.devices.overhead_s(client) + flops * world.devices.s_per_flop(client, 0))
            arrivals_s = world.arrivals_s(client, 0, 0.0, num_samples, dataset.modalities)
            wait_s.append(max(0.0, max(arrivals_s.values(), default=0.0) - down_s))
        rows.append(
            (
                options.run_label,
                options.waiting,
                options.server.rule,
                _bytes(down_bytes),
                _bytes(sum(network.group_bytes.values())),
                f"{np.median(busy_s):.2f} s",
                f"{np.median(wait_s):.2f} s",
            )
        )
    header = ("method", "waiting", "server", "down", "up", "transfer + training", "wait for the last modality")
    yield "a client's first local round (medians over clients; joint training, all groups sent)", Rows(
        rows, header, frozenset({3, 4, 5, 6})
    )


def card(method: type[Method]) -> Iterator[tuple[str, Rows]]:
    """Yield the formula card and the options of a method."""
    about = method.card
    rows = [
        ("paper", about.paper),
        ("client", about.client),
        ("server", about.server),
        ("payload", about.payload),
        ("waits", about.waits),
        ("staleness", about.staleness),
        *(("limit case", limit) for limit in about.limits),
        *(("RECONSTRUCTION", what) for what in about.reconstructed),
    ]
    yield about.title, Rows(rows)
    options = [
        (name, _default(field), _range(field), field.description or "")
        for name, field in method.Options.model_fields.items()
        if name != "name"
    ]
    yield "options", Rows(options, ("option", "default", "allowed", "meaning"))


def summary_rows(summary: pd.DataFrame, scenario: Scenario) -> Rows:
    """Return the printed form of a summary table, with intervals where there are several seeds."""
    columns: dict[str, tuple[str, Callable[[float], str]]] = {
        "final_accuracy": ("final acc", "{:.3f}".format),
        "best_accuracy": ("best acc", "{:.3f}".format),
        **{c: (f"{c.removeprefix('accuracy_')} alone", "{:.3f}".format) for c in summary if _is_modality(c)},
        "time_to_target_s": (f"s to {scenario.evaluate.target_accuracy}", "{:,.0f}".format),
        "bytes_up": ("up", _bytes),
        "bytes_down": ("down", _bytes),
        "busy_s": ("device-s busy", "{:,.0f}".format),
        "unused_s": ("device-s idle", "{:,.0f}".format),
        "versions": ("versions", "{:,.0f}".format),
        "mean_staleness": ("staleness", "{:.1f}".format),
    }
    table = summary.assign(
        busy_s=summary["train_s"] + summary["transfer_s"], unused_s=summary["wait_s"] + summary["idle_s"]
    )
    shown = {column: look for column, look in columns.items() if column in table}
    cells = []
    for _, row in table.iterrows():
        cells.append([str(row["method"]), *(_cell(row, column, look[1], scenario) for column, look in shown.items())])
    header = ["method", *(name for name, _ in shown.values())]
    return Rows(cells, header, frozenset(range(1, len(header))))


def _is_modality(column: Any) -> bool:
    return str(column).startswith("accuracy_") and not str(column).endswith("_ci95")


def _cell(row: "pd.Series[Any]", column: str, look: Callable[[float], str], scenario: Scenario) -> str:
    value, spread = float(row[column]), float(row.get(f"{column}_ci95", math.nan))
    if column == "time_to_target_s":
        reached, _, seeds = str(row["reached"]).partition("/")
        if reached == "0":
            return "never" if scenario.until.simulated_s is None else f"> {scenario.until.simulated_s:,.0f}"
        if reached != seeds:
            return f"{look(value)} ({row['reached']})"
    return look(value) if math.isnan(spread) else f"{look(value)} ± {look(spread)}"


def _bytes(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def _default(field: FieldInfo) -> str:
    default = field.default
    if default is None:
        return "unset"
    if isinstance(default, tuple):
        return ", ".join(map(str, default))
    return ", ".join(f"{k} {v}" for k, v in default.model_dump().items()) if hasattr(default, "model_dump") else str(default)


def _range(field: FieldInfo) -> str:
    """Return an option's type or bounds in words."""
    literals = getattr(field.annotation, "__args__", ())
    if literals and all(isinstance(value, str) for value in literals):
        return ", ".join(literals)
    words = {"Gt": ">", "Ge": ">=", "Lt": "<", "Le": "<="}
    bounds = [
        f"{words[type(bound).__name__]} {next(iter(vars(bound).values())) if hasattr(bound, '__dict__') else ''}"
        for bound in field.metadata
        if type(bound).__name__ in words
    ]
    return " and ".join(bounds) or getattr(field.annotation, "__name__", "")


def _methods() -> Rows:
    return Rows([(name, method.card.title) for name, method in METHODS.items()], ("name", "method"))


def _datasets() -> Rows:
    return Rows([(name, source.about) for name, source in DATASETS.items()], ("name", "data set"))


def _distributions() -> Rows:
    rows = []
    for name, distribution in DISTRIBUTIONS.items():
        parameters = [p for p in distribution.model_fields if p != "distribution"]
        rows.append((name, ", ".join(parameters), (distribution.__doc__ or "").strip()))
    return Rows(rows, ("name", "parameters", "meaning"))


def _encoders() -> Rows:
    return Rows([(name, (encoder.__doc__ or "").split("\n")[0]) for name, encoder in ENCODERS.items()], ("name", "encoder"))


LISTS: Mapping[str, Callable[[], Rows]] = {
    "methods": _methods,
    "datasets": _datasets,
    "distributions": _distributions,
    "encoders": _encoders,
}
