"""Tables of names whose objects are imported when they are asked for: a list of names loads no PyTorch."""

import ast
from collections.abc import Iterator, Mapping, MutableMapping
from importlib import import_module
from pathlib import Path
from typing import Generic, TypeVar

_T = TypeVar("_T")

_HOUSE = Path(__file__).parents[1]
"""The folder of the package ``interlude``."""


class ImportTable(MutableMapping[str, _T], Generic[_T]):
    """Maps names to objects by their places, ``package.module:name``; an entry can also be set to an object.

    Args:
        places: the place of each name.
    """

    def __init__(self, places: Mapping[str, str]) -> None:
        self._entries: dict[str, str | _T] = dict(places)

    def __getitem__(self, name: str) -> _T:
        """Return the object of a name, imported now if it is the first time."""
        entry = self._entries[name]
        if isinstance(entry, str):
            module, _, attribute = entry.partition(":")
            found: _T = getattr(import_module(module), attribute)
            self._entries[name] = entry = found
        return entry

    def __setitem__(self, name: str, value: _T) -> None:
        """Set the object of a name."""
        self._entries[name] = value

    def __delitem__(self, name: str) -> None:
        """Remove a name."""
        del self._entries[name]

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names, in the table's order."""
        return iter(self._entries)

    def __len__(self) -> int:
        """Return how many names there are."""
        return len(self._entries)


def first_line(place: str) -> str:
    """Return the first line of a docstring of this package, read from its source and not imported.

    Args:
        place: ``package.module`` for the module's docstring, ``package.module:Class`` for a class's in it.
    """
    module, _, name = place.partition(":")
    tree = ast.parse(_HOUSE.joinpath(*module.split(".")[1:]).with_suffix(".py").read_text(encoding="utf-8"))
    found = next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name) if name else tree
    return (ast.get_docstring(found) or "").partition("\n")[0].removesuffix(".")
