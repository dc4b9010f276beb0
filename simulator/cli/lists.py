"""Tables of the names that a scenario can use. They load no PyTorch, but for the state of the data sets."""

from collections.abc import Callable, Mapping

from pydantic import BaseModel

from interlude.models.spec import ENCODER_PLACES
from interlude.simulator import data, methods
from interlude.simulator.cli.table_rows import TableRows, size
from interlude.simulator.files import data_directory
from interlude.simulator.importing import first_line


def _methods() -> TableRows:
    return TableRows([(name, first_line(place)) for name, place in methods.PLACES.items()], ("name", "method"))


def _datasets() -> TableRows:
    places = data.PLACES | data.OWN_PLACES
    about = {name: first_line(place.partition(":")[0]) for name, place in places.items()}
    return TableRows([(name, text.removeprefix(f"{name}: ")) for name, text in about.items()], ("name", "data set"))


def data_sets() -> TableRows:
    """Return the state of every data set, its path, licence and origin."""
    directory = data_directory()
    rows = []
    for name, source in data.DATASETS.items():
        found = source.find(directory)
        where = found.lacks or ("" if directory is None or not source.layouts else str(directory))
        missing = f"lacks {where}" if found.lacks else where
        num_bytes = size(found.num_bytes) if found.num_bytes else ""
        rows.append((name, found.state, num_bytes, missing, source.licence, source.origin))
    return TableRows(rows, ("name", "state", "size", "where", "licence", "from"), frozenset({2}))


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


LISTS: Mapping[str, Callable[[], TableRows]] = {
    "methods": _methods,
    "datasets": _datasets,
    "distributions": _distributions,
    "encoders": _encoders,
}
