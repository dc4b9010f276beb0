"""Where a scenario comes from: it changes no run, but names and orders what is drawn from the records of many."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any


@dataclass(frozen=True)
class Origin:
    """The scenario's place in the file, or in the sweep, that it was read from."""

    scenario: str
    """Name of the file's scenario, without a variant's name and a sweep's values."""
    methods: tuple[str, ...]
    """Labels of all its methods, in its order; a run has one of them."""
    place: int = 0
    """Position among the variants or points of the file."""
    swept: Mapping[str, Any] = field(default_factory=dict)
    """Value of every field that the sweep varies, methods by their labels: ``methods.mba.beta``."""

    tuned: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """By the label of a method whose settings were chosen by tuning: the grid, the seeds and the choice."""

    def of_method(self, label: str) -> "Origin":
        """Return it for a run of one method, whose tuning alone matters."""
        return replace(self, tuned={label: self.tuned[label]} if label in self.tuned else {})

    def facts(self) -> dict[str, Any]:
        """Return it as plain data, for a record."""
        return {key: value for key, value in asdict(self).items() if key != "tuned" or value}
