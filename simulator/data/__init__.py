"""Data sets of named modalities, and how clients share them.

To add a data set: write its file with a spec (options), a loader and a `SOURCE`, and name that here.
"""

from typing import TYPE_CHECKING

from interlude.simulator.errors import BadInputError, nearest
from interlude.simulator.importing import ImportTable

if TYPE_CHECKING:
    from interlude.simulator.data.source import Source

_HERE = "interlude.simulator.data"

PLACES = {
    "cg-digits": f"{_HERE}.cg_digits:SOURCE",
    "cg-mnist": f"{_HERE}.cg_mnist:SOURCE",
    "uci-har": f"{_HERE}.uci_har:SOURCE",
    "watch": f"{_HERE}.watch:SOURCE",
    "crema-d": f"{_HERE}.crema_d:SOURCE",
    "ave": f"{_HERE}.ave:SOURCE",
    "crisismmd": f"{_HERE}.crisismmd:SOURCE",
    "modelnet40": f"{_HERE}.modelnet40:SOURCE",
    "synthetic": f"{_HERE}.synthetic:SOURCE",
}
"""The names of data sets, and where each is."""

OWN_PLACES = {
    "folder": f"{_HERE}.folder:SOURCE",
    "table": f"{_HERE}.table:SOURCE",
    "images": f"{_HERE}.image_folders:SOURCE",
    "huggingface": f"{_HERE}.huggingface:SOURCE",
    "package.module:function": f"{_HERE}.function:SOURCE",
}
"""The entry points for a user's own data; the last one's name is a pattern."""

DATASETS: "ImportTable[Source]" = ImportTable(PLACES)
"""The data sets; one is imported when it is asked for."""

OWN: "ImportTable[Source]" = ImportTable(OWN_PLACES)


def find_source(name: str) -> "Source | None":
    """Return the data set of a name, or one of a user's own; None if there is none."""
    return DATASETS.get(name) or OWN.get("package.module:function" if ":" in name else name)


def check_name(name: object, where: str | None = None) -> None:
    """Refuse a name that is no data set's.

    Args:
        name: the name.
        where: the field that holds it, for the sentence.

    Raises:
        BadInputError: with the names that there are.
    """
    if not isinstance(name, str) or not (name in DATASETS or name in OWN or ":" in name):
        known = f"data sets are {known_names()}{nearest(str(name), [*DATASETS, *OWN])}"
        said = f"unknown data set '{name}'; {known}"
        raise BadInputError(said if where is None else f"{where}: {said}")


def known_names() -> str:
    """Return the names of the data sets, for a sentence."""
    *forms, last = map(repr, OWN)
    return f"{', '.join(DATASETS)}, or your own as {', '.join(forms)} or {last}"
