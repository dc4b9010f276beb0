"""Code of a user's own that a scenario names as ``package.module:name``: how it says what it is, and how it is found.

Naming a thing imports its module, which runs what stands at the module's top level. Nothing in the module is called
unless it says what it is: functions that return data, encoders and fusion heads by a decorator of this module (a
function also by the return annotation ``-> Dataset``), methods by their base class. So a scenario cannot call
``shutil:rmtree``.
"""

import inspect
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

from interlude.simulator.errors import BadInputError, InterludeError, one_line
from interlude.simulator.own_code.errors import blaming

Kind = Literal["dataset", "encoder", "fusion"]

_MARK = "__interlude__"

_Declared = TypeVar("_Declared", bound=Callable[..., Any])


def dataset(function: _Declared) -> _Declared:
    """Declare a function that returns data, so that a scenario may name it as ``data.dataset``."""
    return _declared(function, "dataset")


def encoder(module: _Declared) -> _Declared:
    """Declare a class, or a function that returns a module, so that a scenario may name it in ``model.encoder``."""
    return _declared(module, "encoder")


def fusion(module: _Declared) -> _Declared:
    """Declare a class, or a function that returns a module, so that a scenario may name it as ``model.fusion``."""
    return _declared(module, "fusion")


class Foreign(NamedTuple):
    """Code of a user's own that a scenario names."""

    field: str
    """The scenario's field that names it."""
    name: str
    """``package.module:name``."""
    file: Path | None
    """The file of its module; None for code that was not read from one."""


def imported(name: str) -> Any:
    """Return what ``package.module:name`` names, without calling it.

    Raises:
        BadInputError: if there is no such thing.
        UserCodeError: if the module raises an error, with the line.
    """
    module_name, _, own_name = name.partition(":")
    try:
        with blaming(f"the import of '{name}'", is_own=False):
            return getattr(import_module(module_name), own_name)
    except InterludeError:
        raise
    except (Exception, SystemExit) as error:
        raise BadInputError(f"'{name}' cannot be imported: {one_line(error)}") from error


def needs_declaration(name: str, kind: Kind, also: Callable[[Any], bool] = lambda _: False) -> Any:
    """Return what ``package.module:name`` names once it is sure that it may be called as a `kind`.

    Args:
        name: what a scenario says.
        kind: what it must say that it is.
        also: another way to say so.

    Raises:
        BadInputError: if there is no such thing, or it does not say that it is one.
        UserCodeError: if the module raises an error, with the line.
    """
    found = imported(name)
    if not callable(found):
        raise BadInputError(f"'{name}' is not a function or class")
    if inspect.getattr_static(found, _MARK, None) != kind and not also(found):
        or_else = ", or annotate it '-> interlude.Dataset'" if kind == "dataset" else ""
        raise BadInputError(
            f"'{name}' does not say that it is a {kind}, so it is not called; if it is, put '@interlude.{kind}' before "
            f"its definition{or_else}"
        )
    return found


def importable_from(folder: Path) -> None:
    """Let the modules and packages of a folder be imported, behind what is installed and what was named before.

    Worker processes get the same path. Without effect for a folder that has none, or is gone.
    """
    with suppress(OSError):
        given = os.path.abspath(folder)
        has_modules = any(next(Path(given).glob(pattern), None) for pattern in ("*.py", "*/__init__.py"))
        if has_modules and given not in sys.path:
            sys.path.append(given)


def file_of(name: str) -> Path | None:
    """Return the file of the module of ``package.module:name``; None if it was not read from one."""
    file = getattr(import_module(name.partition(":")[0]), "__file__", None)
    return None if file is None else Path(file)


def _declared(found: _Declared, kind: Kind) -> _Declared:
    setattr(found, _MARK, kind)
    return found
