"""Names in a scenario to methods and data sets, built in or a user's own."""

from interlude.simulator import data
from interlude.simulator.data.source import Source
from interlude.simulator.errors import BadInputError
from interlude.simulator.methods import METHODS, check_name
from interlude.simulator.methods.base import Method
from interlude.simulator.methods.options import MethodOptions
from interlude.simulator.own_code.foreign import Foreign, file_of, imported
from interlude.simulator.scenario.scenario import Scenario


def method_class(name: str) -> type[Method]:
    """Return a method by its name in the table or as ``package.module:Class``.

    Raises:
        BadInputError: if there is none.
    """
    if name in METHODS:
        return METHODS[name]
    check_name(name)
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
    data.check_name(name)
    found = data.find_source(str(name))
    assert found is not None, name
    return found
