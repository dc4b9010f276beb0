"""Names in a scenario to methods and data sets, built in or a user's own."""

from interlude.simulator.data import DATASETS, OWN, find_source
from interlude.simulator.data.source import Source
from interlude.simulator.errors import BadInputError, nearest
from interlude.simulator.foreign import Foreign, file_of, imported
from interlude.simulator.methods import METHODS
from interlude.simulator.methods.base import Method, MethodOptions
from interlude.simulator.scenario.scenario import Scenario


def method_class(name: str) -> type[Method]:
    """Return a method by its name in the table or as ``package.module:Class``.

    Raises:
        BadInputError: if there is none.
    """
    if name in METHODS:
        return METHODS[name]
    if ":" not in name:
        raise BadInputError(
            f"unknown method '{name}'; methods are {', '.join(METHODS)}, or your own as 'package.module:Class'"
            + nearest(name, METHODS)
        )
    found = imported(name)
    if not (isinstance(found, type) and issubclass(found, Method)):
        raise BadInputError(
            f"'{name}' is not a method: it must be a subclass of interlude.simulator.methods.interface.Method"
        )
    options = getattr(found, "Options", None)
    if not (isinstance(options, type) and issubclass(options, MethodOptions)):
        raise BadInputError(
            f"method '{name}' has no options: it needs 'Options = ...', a subclass of "
            "interlude.simulator.methods.interface.MethodOptions"
        )
    return found


def foreign_code(scenario: Scenario) -> list[Foreign]:
    """Return the code of a user's own that runs of a scenario call, by the fields that name it."""
    named = {"data.dataset": scenario.data.dataset}
    named |= {field: module.name for field, module in scenario.model.own_modules().items()}
    named |= {f"methods.{i}.name": method.name for i, method in enumerate(scenario.methods)}
    return [Foreign(field, name, file_of(name)) for field, name in named.items() if ":" in name]


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
