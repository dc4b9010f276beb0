"""Names in a scenario to methods and data sets, built in or a user's own."""

from importlib import import_module

from interlude.simulator.data import DATASETS, OWN, find_source
from interlude.simulator.data.source import Source
from interlude.simulator.errors import BadInputError, nearest, one_line
from interlude.simulator.methods import METHODS
from interlude.simulator.methods.base import Method


def method_class(name: str) -> type[Method]:
    """Return a method by its name in the table or as ``package.module:Class``.

    Raises:
        BadInputError: if there is none.
    """
    if name in METHODS:
        return METHODS[name]
    module_name, colon, class_name = name.partition(":")
    if not colon:
        raise BadInputError(
            f"unknown method '{name}'; methods are {', '.join(METHODS)}, or your own as 'package.module:Class'"
            + nearest(name, METHODS)
        )
    try:
        found = getattr(import_module(module_name), class_name)
    except Exception as error:  # any exception that the user's module raises when it is imported
        raise BadInputError(f"method '{name}' cannot be imported: {one_line(error)}") from error
    if not (isinstance(found, type) and issubclass(found, Method)):
        raise BadInputError(
            f"'{name}' is not a method: it must be a subclass of interlude.simulator.methods.base.Method"
        )
    return found


def data_source(name: object) -> Source:
    """Return a data set by its name in the table, or one of a user's own.

    Raises:
        BadInputError: if there is none.
    """
    found = find_source(name) if isinstance(name, str) else None
    if found is None:
        raise BadInputError(
            f"unknown data set '{name}'; data sets are {known_data_sets()}" + nearest(str(name), [*DATASETS, "folder"])
        )
    return found


def known_data_sets() -> str:
    """Return the names of the data sets, for a sentence."""
    return f"{', '.join(DATASETS)}, or your own as {' or '.join(map(repr, OWN))}"
