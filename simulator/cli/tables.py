"""Words and numbers for people: what a method does, how a comparison came out, what a scenario can name."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import pandas as pd
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from interlude.models.encoders import ENCODERS
from interlude.simulator.data import DATASETS, OWN
from interlude.simulator.errors import BadInputError
from interlude.simulator.federation.rules import ServerRule
from interlude.simulator.federation.staleness import StalenessSpec
from interlude.simulator.files import data_directory
from interlude.simulator.methods import METHODS
from interlude.simulator.methods.base import Method
from interlude.simulator.scenario.loading import Scenario, method_class
from interlude.simulator.world.distributions import DISTRIBUTIONS


def size(num_bytes: float) -> str:
    """Return a number of bytes in decimal units."""
    for unit in ("B", "kB", "MB", "GB"):
        if num_bytes < 1000:
            return f"{num_bytes:.0f} B" if unit == "B" else f"{num_bytes:.1f} {unit}"
        num_bytes /= 1000
    return f"{num_bytes:.1f} TB"


def energy(joules: float) -> str:
    """Return an amount of energy."""
    return f"{joules:.0f} J" if joules < 1000 else f"{joules / 1e3:,.2f} kJ"


@dataclass(frozen=True)
class Rows:
    """A table of text."""

    cells: Sequence[Sequence[str]]
    header: Sequence[str] = ()
    numbers: frozenset[int] = frozenset()
    """Columns that are right-aligned."""


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
    yield "options", _options(method.Options)
    for title, choices in (("server.rule", ServerRule), ("server.staleness.function", StalenessSpec)):
        for choice in get_args(get_args(choices)[0]):
            tag = next(name for name in ("rule", "function") if name in choice.model_fields)
            yield f"{title}: {get_args(choice.model_fields[tag].annotation)[0]}", _options(choice)


def card_texts(names: Iterable[str]) -> list[tuple[str, list[tuple[str, str]]]]:
    """Return the formula cards of methods for a page: title, and terms with their texts.

    A method that cannot be imported here gets a card that says so: a record outlives the code that made it.
    """
    texts = []
    for name in dict.fromkeys(names):
        try:
            title, rows = next(card(method_class(name)))
        except BadInputError as error:
            texts.append((name, [("card", f"not available: {error}")]))
        else:
            texts.append((f"{title} ({name})", [(str(cells[0]), str(cells[1])) for cells in rows.cells]))
    return texts


def _options(model: type[BaseModel]) -> Rows:
    rows = [
        (name, _default(field), _range(field), field.description or "")
        for name, field in model.model_fields.items()
        if name not in ("name", "rule", "function")
    ]
    return Rows(rows or [("none", "", "", "")], ("option", "default", "allowed", "meaning"))


def summary_tables(summary: pd.DataFrame, scenario: Scenario) -> Iterator[tuple[str, Rows]]:
    """Yield the printed form of a summary: what was reached and what it cost, with intervals over several seeds."""
    alone = {c: (f"{c.removeprefix('accuracy_')} alone", "{:.3f}".format) for c in map(str, summary) if _is_modality(c)}
    reached: Columns = {
        "final_accuracy": ("final accuracy", "{:.3f}".format),
        "best_accuracy": ("best", "{:.3f}".format),
        **alone,
        "time_to_target_s": (f"s to {scenario.evaluate.target_accuracy}", "{:,.0f}".format),
    }
    spent: Columns = {
        "versions": ("versions", "{:,.0f}".format),
        "mean_staleness": ("staleness", "{:.1f}".format),
        "bytes_up": ("up", size),
        "bytes_down": ("down", size),
        "busy_s": ("busy device-s", "{:,.0f}".format),
        "unused_s": ("idle device-s", "{:,.0f}".format),
        "off_s": ("off device-s", "{:,.0f}".format),
        "lost_s": ("lost device-s", "{:,.0f}".format),
        "bytes_lost": ("lost", size),
        "energy_j": ("energy", energy),
        "energy_to_target_j": (f"to {scenario.evaluate.target_accuracy}", energy),
        "rejected_updates": ("rejected", "{:,.0f}".format),
    }
    table = summary.assign(
        busy_s=summary["train_s"] + summary["transfer_s"], unused_s=summary["wait_s"] + summary["idle_s"]
    )
    for title, columns in (("accuracy", reached), ("cost", spent)):
        shown = {column: look for column, look in columns.items() if column in table}
        if shown:
            cells = [
                [
                    str(row["method"]),
                    *(_cell(row, column, look, scenario) for column, (_, look) in shown.items()),
                ]
                for _, row in table.iterrows()
            ]
            header = ["method", *(name for name, _ in shown.values())]
            yield f"{scenario.name}: {title}", Rows(cells, header, frozenset(range(1, len(header))))


def sweep_plan(scenarios: Iterable[Scenario]) -> Rows:
    """Return what a sweep would run: a row per point."""
    seeds: dict[str, list[int]] = {}
    methods: dict[str, list[str]] = {}
    for scenario in scenarios:
        seeds.setdefault(scenario.name, []).append(scenario.seed)
        methods[scenario.name] = [method.run_label for method in scenario.methods]
    cells = [
        [point, str(len(seeds[point]) * len(labels)), ", ".join(map(str, seeds[point])), ", ".join(labels)]
        for point, labels in methods.items()
    ]
    return Rows(cells, ("point", "runs", "seeds", "methods"), frozenset({1}))


def sweep_table(summaries: Mapping[str, pd.DataFrame], scenarios: Mapping[str, Scenario]) -> Rows:
    """Return the printed form of a sweep's summaries: a row per point and method.

    Args:
        summaries: of each point, by its name.
        scenarios: of each point, by its name.
    """
    looks: Columns = {
        "final_accuracy": ("final accuracy", "{:.3f}".format),
        "time_to_target_s": ("s to target", "{:,.0f}".format),
        "versions": ("versions", "{:,.0f}".format),
        "mean_staleness": ("staleness", "{:.1f}".format),
        "bytes_up": ("up", size),
    }
    columns = {c: look for c, look in looks.items() if any(c in summary for summary in summaries.values())}
    cells = [
        [point, str(row["method"]), *(_cell(row, c, look, scenarios[point]) for c, (_, look) in columns.items())]
        for point, summary in summaries.items()
        for _, row in summary.iterrows()
    ]
    header = ["point", "method", *(name for name, _ in columns.values())]
    return Rows(cells, header, frozenset(range(2, len(header))))


Columns = dict[str, tuple[str, Callable[[float], str]]]


def _is_modality(column: str) -> bool:
    return column.startswith("accuracy_") and not column.endswith("_ci95")


def _cell(row: "pd.Series[Any]", column: str, look: Callable[[float], str], scenario: Scenario) -> str:
    value, spread = float(row[column]), float(row.get(f"{column}_ci95", math.nan))
    if column in ("time_to_target_s", "energy_to_target_j"):
        reached, _, seeds = str(row["reached"]).partition("/")
        if reached == "0" and column == "energy_to_target_j":
            return "never"
        if reached == "0":
            return "never" if scenario.until.simulated_s is None else f"> {scenario.until.simulated_s:,.0f}"
        if reached != seeds:
            return f"{look(value)} ({row['reached']})"
    return look(value) if math.isnan(spread) else f"{look(value)} ± {look(spread)}"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    if field.default is None:
        return "unset"
    return (
        _flat(field.default.model_dump(exclude_none=True))
        if isinstance(field.default, BaseModel)
        else str(field.default)
    )


def _flat(options: Mapping[str, Any]) -> str:
    """Return nested options as YAML would have them on one line."""
    parts = [f"{key}: {_flat(value) if isinstance(value, dict) else value}" for key, value in options.items()]
    return "{" + ", ".join(parts) + "}"


def _range(field: FieldInfo) -> str:
    """Return an option's type or bounds in words."""
    choices = get_args(field.annotation)
    if choices and all(isinstance(choice, str) for choice in choices):
        return ", ".join(choices)
    annotated = [metadata for choice in choices for metadata in getattr(choice, "__metadata__", ())]  # of `X | None`
    bounds = [
        f"{sign} {getattr(bound, name):g}"
        for bound in [*field.metadata, *annotated]
        for name, sign in (("gt", ">"), ("ge", ">="), ("lt", "<"), ("le", "<="))
        if getattr(bound, name, None) is not None
    ]
    if field.annotation is bool:
        return "true, false"
    return ", ".join(bounds)


def _methods() -> Rows:
    return Rows([(name, method.card.title) for name, method in METHODS.items()], ("name", "method"))


def _datasets() -> Rows:
    return Rows([(name, source.about) for name, source in (DATASETS | OWN).items()], ("name", "data set"))


def data_sets() -> Rows:
    """Return what there is of every data set, where it was looked for, its licence and origin."""
    directory = data_directory()
    rows = []
    for name, source in DATASETS.items():
        found = source.find(directory)
        where = found.lacks or ("" if directory is None or not source.layouts else str(directory))
        missing = f"lacks {where}" if found.lacks else where
        num_bytes = size(found.num_bytes) if found.num_bytes else ""
        rows.append((name, found.state, num_bytes, missing, source.licence, source.origin))
    return Rows(rows, ("name", "state", "size", "where", "licence", "from"), frozenset({2}))


def _distributions() -> Rows:
    rows = []
    for name, distribution in DISTRIBUTIONS.items():
        parameters = [p for p in distribution.model_fields if p != "distribution"]
        rows.append((name, ", ".join(parameters), (distribution.__doc__ or "").strip()))
    return Rows(rows, ("name", "parameters", "meaning"))


def _encoders() -> Rows:
    return Rows(
        [(name, (encoder.__doc__ or "").split("\n")[0]) for name, encoder in ENCODERS.items()],
        ("name", "encoder"),
    )


LISTS: Mapping[str, Callable[[], Rows]] = {
    "methods": _methods,
    "datasets": _datasets,
    "distributions": _distributions,
    "encoders": _encoders,
}
