"""package.module:function: your own data, returned by a function as a Dataset or as (train, test) of named arrays.

The function says that it is a data set, by the decorator `interlude.dataset` or the return annotation
``-> interlude.Dataset``. It is called with ``options``, and with the run's ``seed`` if it has that parameter, and
returns a `Dataset`, or a pair of mappings (train, test) of named arrays as `interlude.simulator.data.own` says.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Self, get_type_hints

from pydantic import Field

from interlude.simulator.data.dataset import Dataset
from interlude.simulator.data.own import checked, dataset_of
from interlude.simulator.data.source import Source
from interlude.simulator.data.spec import DataSpec, NumClasses
from interlude.simulator.errors import BadInputError, CannotRunError, UserCodeError
from interlude.simulator.own_code.errors import blaming
from interlude.simulator.own_code.foreign import needs_declaration


class FunctionSpec(DataSpec):
    """Options of a data set that a function returns."""

    options: dict[str, Any] = Field({}, description="keyword arguments of the function")
    num_classes: NumClasses | None = Field(None, description="classes; unset: as many as the largest label says")

    def __hash__(self) -> int:
        """Return a hash of all fields; mappings have none of their own."""
        return hash(self.model_dump_json())

    def content(self, seed: int) -> Self:
        """Return what decides the samples; a function's parameter ``seed`` is the run's unless an option pins it."""
        content = super().content(seed)
        if "seed" in self.options or not _takes_seed(find_function(self.dataset)):
            return content
        return content.model_copy(update={"options": {**self.options, "seed": seed}})


def load(spec: FunctionSpec) -> Dataset:
    """Return the data set that a function returns.

    Raises:
        BadInputError: if there is no such function, it fails, or what it returns is not a data set.
    """
    function, where = find_function(spec.dataset), f"data.dataset '{spec.dataset}'"
    with blaming(where):
        returned = function(**spec.options)
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
        CannotRunError: if there is none, or it does not say that it is a data set.
    """
    try:
        found: Callable[..., Any] = needs_declaration(name, "dataset", _returns_a_dataset)
    except UserCodeError:
        raise
    except BadInputError as error:
        raise CannotRunError(f"data.dataset: {error}") from error
    return found


def _takes_seed(function: Callable[..., Any]) -> bool:
    """Return whether a function has a parameter ``seed``; one without a readable signature has none."""
    try:
        return "seed" in inspect.signature(function).parameters
    except (TypeError, ValueError):
        return False


def _returns_a_dataset(found: Any) -> bool:
    """Return whether a function's return annotation is `Dataset` itself, not another library's class of that name."""
    try:
        return inspect.isfunction(found) and get_type_hints(found).get("return") is Dataset
    except Exception:  # an annotation that cannot be evaluated says nothing
        return False


SOURCE = Source(
    options=FunctionSpec,
    load=load,
    origin="yours",
    licence="yours",
)
