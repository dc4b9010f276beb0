"""package.module:function: your own data, returned by a function as a Dataset or as (train, test) of named arrays.

The function is called with ``options`` and returns a `Dataset`, or a pair of mappings (train, test) of named arrays as
`interlude.simulator.data.own` describes them.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

from pydantic import Field

from interlude.simulator.data.dataset import Dataset
from interlude.simulator.data.own import checked, dataset_of
from interlude.simulator.data.source import Source
from interlude.simulator.data.spec import DataSpec, NumClasses
from interlude.simulator.errors import BadInputError, one_line


class FunctionSpec(DataSpec):
    """Options of a data set that a function returns."""

    options: dict[str, Any] = Field({}, description="keyword arguments of the function")
    num_classes: NumClasses | None = Field(None, description="classes; unset: as many as the largest label says")

    def __hash__(self) -> int:
        """Return a hash of all fields; mappings have none of their own."""
        return hash(self.model_dump_json())


def load(spec: FunctionSpec) -> Dataset:
    """Return the data set that a function returns.

    Raises:
        BadInputError: if there is no such function, it fails, or what it returns is not a data set.
    """
    function, where = find_function(spec.dataset), f"data.dataset '{spec.dataset}'"
    try:
        returned = function(**spec.options)
    except BadInputError:
        raise
    except Exception as error:
        raise BadInputError(f"{where} failed: {type(error).__name__}: {one_line(error)}") from error
    source = inspect.getsourcefile(inspect.unwrap(function)) if inspect.isroutine(function) else None
    files = () if source is None else (Path(source),)
    both = (f"{where}, train", f"{where}, test")
    if isinstance(returned, Dataset):
        return checked(replace(returned, files=(*returned.files, *files)), both)
    if isinstance(returned, (tuple, list)) and len(returned) == 2 and all(isinstance(s, Mapping) for s in returned):
        train, test = returned
        return dataset_of(train, test, both, spec.num_classes, files)
    raise BadInputError(
        f"{where}: must return a Dataset, or a pair of mappings (train, test) from names to arrays; it returned "
        f"a {type(returned).__name__}"
    )


def find_function(name: str) -> Callable[..., Any]:
    """Return a function by ``package.module:function``.

    Raises:
        BadInputError: if there is none.
    """
    module_name, _, function_name = name.partition(":")
    try:
        found: Callable[..., Any] = getattr(import_module(module_name), function_name)
    except Exception as error:  # whatever the user's module raises when it is imported
        raise BadInputError(f"data.dataset: '{name}' cannot be imported: {one_line(error)}") from error
    if not callable(found):
        raise BadInputError(f"data.dataset: '{name}' is not a function")
    return found


SOURCE = Source(
    options=FunctionSpec,
    load=load,
    origin="yours",
    licence="yours",
)
