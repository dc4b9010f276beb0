"""Tables of text: formula cards of methods, and the names that a scenario can use."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, get_args

from pydantic import BaseModel, RootModel
from pydantic.fields import FieldInfo

from interlude.models.encoders import ENCODERS
from interlude.simulator.cli.table_rows import TableRows, size
from interlude.simulator.data import DATASETS, OWN
from interlude.simulator.errors import BadInputError
from interlude.simulator.federation.rules import ServerRule
from interlude.simulator.federation.staleness import StalenessSpec
from interlude.simulator.files import data_directory
from interlude.simulator.methods import METHODS
from interlude.simulator.methods.base import Method
from interlude.simulator.methods.card import card_of
from interlude.simulator.scenario.registry import method_class
from interlude.simulator.world.distributions import DISTRIBUTIONS


def card(method: type[Method]) -> Iterator[tuple[str, TableRows]]:
    """Yield the formula card and the options of a method."""
    about = card_of(method)
    rows = [
        ("paper", about.paper),
        ("about", about.about),
        ("client", about.client),
        ("server", about.server),
        ("payload", about.payload),
        ("waits", about.waits),
        ("staleness", about.staleness),
        *(("limit case", limit) for limit in about.limits),
        *(("RECONSTRUCTION", what) for what in about.reconstructed),
    ]
    said = [(term, text) for term, text in rows if text]
    yield about.title, TableRows(said or [("card", f"the class docstring of {method.__name__} has no sections")])
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


def _options(model: type[BaseModel]) -> TableRows:
    rows = [
        (name, _default(field), _range(field), field.description or "")
        for name, field in model.model_fields.items()
        if name not in ("name", "rule", "function")
    ]
    return TableRows(rows or [("none", "", "", "")], ("option", "default", "allowed", "meaning"))


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    if field.default is None:
        return "unset"
    default = field.default.model_dump(exclude_none=True) if isinstance(field.default, BaseModel) else field.default
    return _flat(default) if isinstance(default, dict) else str(default)


def _flat(options: Mapping[str, Any]) -> str:
    """Return nested options as one line of YAML."""
    parts = [f"{key}: {_flat(value) if isinstance(value, dict) else value}" for key, value in options.items()]
    return "{" + ", ".join(parts) + "}"


def _range(field: FieldInfo) -> str:
    """Return an option's type or bounds in words."""
    if isinstance(field.annotation, type) and issubclass(field.annotation, RootModel):
        return _range(field.annotation.model_fields["root"])
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


def _methods() -> TableRows:
    return TableRows([(name, card_of(method).title) for name, method in METHODS.items()], ("name", "method"))


def _datasets() -> TableRows:
    return TableRows([(name, source.about) for name, source in (DATASETS | OWN).items()], ("name", "data set"))


def data_sets() -> TableRows:
    """Return the state of every data set, its path, licence and origin."""
    directory = data_directory()
    rows = []
    for name, source in DATASETS.items():
        found = source.find(directory)
        where = found.lacks or ("" if directory is None or not source.layouts else str(directory))
        missing = f"lacks {where}" if found.lacks else where
        num_bytes = size(found.num_bytes) if found.num_bytes else ""
        rows.append((name, found.state, num_bytes, missing, source.licence, source.origin))
    return TableRows(rows, ("name", "state", "size", "where", "licence", "from"), frozenset({2}))


def _distributions() -> TableRows:
    rows = []
    for name, distribution in DISTRIBUTIONS.items():
        parameters = [p for p in distribution.model_fields if p != "distribution"]
        rows.append((name, ", ".join(parameters), (distribution.__doc__ or "").strip()))
    return TableRows(rows, ("name", "parameters", "meaning"))


def _encoders() -> TableRows:
    return TableRows(
        [(name, (encoder.__doc__ or "").split("\n")[0]) for name, encoder in ENCODERS.items()],
        ("name", "encoder"),
    )


LISTS: Mapping[str, Callable[[], TableRows]] = {
    "methods": _methods,
    "datasets": _datasets,
    "distributions": _distributions,
    "encoders": _encoders,
}
