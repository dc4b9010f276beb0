"""Tables of the names that a scenario can use. They load no PyTorch, but for the state of the data sets."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from pydantic import BaseModel

from interlude.models.spec import ENCODER_PLACES
from interlude.simulator import data, methods
from interlude.simulator.cli.table_rows import TableRows, size
from interlude.simulator.files import data_directory
from interlude.simulator.importing import first_line
from interlude.simulator.scenario.shipped import about, shipped

if TYPE_CHECKING:
    from interlude.simulator.data.source import Found


def _methods() -> TableRows:
    return TableRows([(name, first_line(place)) for name, place in methods.PLACES.items()], ("name", "method"))


def _datasets() -> TableRows:
    places = data.PLACES | data.OWN_PLACES
    about = {name: first_line(place.partition(":")[0]) for name, place in places.items()}
    return TableRows([(name, text.removeprefix(f"{name}: ")) for name, text in about.items()], ("name", "data set"))


def data_sets() -> TableRows:
    """Return the state of every data set, its path, licence and origin; a row for each way of reading it."""
    directory = data_directory()
    rows = []
    for name, source in data.DATASETS.items():
        rows.append((name, *_state(source.find(directory)), source.licence, source.origin))
        found = source.find_on_request()
        if found is not None and (packaged := source.packaged) is not None:
            rows.append((f"{name} ({packaged.package})", *_state(found), source.licence, packaged.origin))
    return TableRows(rows, ("name", "state", "size", "where", "licence", "from"), frozenset({2}))


def data_set_facts() -> list[dict[str, object]]:
    """Return the state of every data set as plain data, one of another package on request beside its own."""
    directory = data_directory()
    facts: list[dict[str, object]] = []
    for name, source in data.DATASETS.items():
        ways: list[tuple[Found | None, str | None, str]] = [(source.find(directory), None, source.origin)]
        if source.packaged is not None:
            ways.append((source.find_on_request(), source.packaged.package, source.packaged.origin))
        facts += [
            {
                "name": name,
                "package": package,
                "state": found.state,
                "bytes": found.num_bytes,
                "where": found.where,
                "lacks": found.lacks,
                "licence": source.licence,
                "from": origin,
            }
            for found, package, origin in ways
            if found is not None
        ]
    return facts


def _state(found: "Found") -> tuple[str, str, str]:
    where = f"lacks {found.lacks}" if found.lacks else str(found.where or "")
    return found.state, size(found.num_bytes) if found.num_bytes else "", where


def _distributions() -> TableRows:
    from interlude.simulator.world.distributions import DISTRIBUTIONS
    from interlude.simulator.world.traces import SpeedTrace, TimeTrace

    named: list[tuple[str, type[BaseModel]]] = [*DISTRIBUTIONS.items(), ("trace", TimeTrace), ("trace", SpeedTrace)]
    rows = [("(a number)", "", "Always the same value, as `constant`.")]
    for name, distribution in named:
        parameters = [p for p in distribution.model_fields if p != "distribution"]
        rows.append((name, ", ".join(parameters), (distribution.__doc__ or "").partition("\n")[0]))
    return TableRows(rows, ("name", "parameters", "meaning"))


def _encoders() -> TableRows:
    return TableRows([(name, first_line(place)) for name, place in ENCODER_PLACES.items()], ("name", "encoder"))


def _scenarios() -> TableRows:
    return TableRows([(name, about(path)) for name, path in shipped().items()], ("name", "scenario"))


LISTS: Mapping[str, Callable[[], TableRows]] = {
    "methods": _methods,
    "datasets": _datasets,
    "distributions": _distributions,
    "encoders": _encoders,
    "scenarios": _scenarios,
}
