"""Tables of text: formula cards of methods."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, get_args

from pydantic import BaseModel, RootModel
from pydantic.fields import FieldInfo

from interlude.simulator.cli.table_rows import TableRows
from interlude.simulator.errors import BadInputError
from interlude.simulator.federation.rules import ServerRule
from interlude.simulator.federation.staleness import StalenessSpec
from interlude.simulator.methods.base import Method
from interlude.simulator.methods.card import card_of
from interlude.simulator.scenario.registry import method_class
from interlude.simulator.training.server_optimizer import ServerOptimizer

_CHOICES = (
    ("server.rule", ServerRule),
    ("server.staleness.function", StalenessSpec),
    ("server.optimizer.kind", ServerOptimizer),
)
_TAGS = ("rule", "function", "kind")


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
    for title, choices in _CHOICES:
        for choice in get_args(get_args(choices)[0]):
            tag = next(name for name in _TAGS if name in choice.model_fields)
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
        if name != "name" and not _is_tag(name, field)
    ]
    return TableRows(rows or [("none", "", "", "")], ("option", "default", "allowed", "meaning"))


def _is_tag(name: str, field: FieldInfo) -> bool:
    """Return whether an option only says which of several choices the others belong to."""
    return name in _TAGS and len(get_args(field.annotation)) == 1


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
