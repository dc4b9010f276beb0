"""A whole scenario: its sections, and what identifies it."""

import hashlib
import json
from html import escape
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import Field, PrivateAttr, SerializeAsAny

from interlude.simulator.data.spec import DataSpec
from interlude.simulator.files import located, without_folders
from interlude.simulator.methods.options import MethodOptions
from interlude.simulator.scenario.origin import Origin
from interlude.simulator.scenario.outline import Outline
from interlude.simulator.scenario.sections import RecordSpec
from interlude.simulator.training.spec import TrainingSpec


class Scenario(Outline):
    """A whole scenario."""

    data: SerializeAsAny[DataSpec]
    methods: Annotated[tuple[SerializeAsAny[MethodOptions], ...], Field(min_length=1)]

    _origin: Origin | None = PrivateAttr(None)

    @property
    def origin(self) -> Origin:
        """Where it comes from; it is its own origin unless a file of variants, or a sweep, says otherwise."""
        return self._origin or self._own_origin()

    def with_origin(self, origin: Origin) -> "Scenario":
        """Return the same scenario with another origin."""
        changed = self.model_copy()
        changed._origin = None if origin == changed._own_origin() else origin
        return changed

    def _own_origin(self) -> Origin:
        return Origin(self.name, tuple(method.run_label for method in self.methods))

    def for_run(self, method: MethodOptions, seed: int) -> "Scenario":
        """Return the scenario of one run: one method, one seed."""
        origin = self.origin.of_method(method.run_label)
        return self.model_copy(update={"methods": (method,), "seed": seed}).with_origin(origin)

    def training_of(self, method: MethodOptions) -> TrainingSpec:
        """Return the local training of a method: the scenario's, with the fields of its own laid over."""
        if not method.training:
            return self.training
        return TrainingSpec.model_validate(self.training.overlaid(method.training))

    def resolved(self) -> dict[str, Any]:
        """Return all fields of the scenario, defaults included, as plain data.

        A section ``record`` that says nothing is left out: such a scenario stays what it was before there was one.
        """
        fields = self.model_dump(mode="json")
        if self.record == RecordSpec():
            del fields["record"]
        return fields

    def _repr_html_(self) -> str:
        """Return what a notebook shows: the scenario as YAML, without the fields that are at their defaults."""
        given = self.model_dump(mode="json", exclude_defaults=True)
        return f"<pre>{escape(yaml.safe_dump(given, sort_keys=False, allow_unicode=True))}</pre>"

    def files(self) -> dict[Path, Path]:
        """Return the files that the scenario's world reads: their given names, and their locations."""
        return {Path(path): located(Path(path)) for path in _files_in(self.resolved()["world"])}

    def digest(self) -> str:
        """Return a hash of all fields of the scenario, but for the folders of absolute paths."""
        return hashlib.sha256(json.dumps(without_folders(self.resolved()), sort_keys=True).encode()).hexdigest()


def _files_in(node: Any) -> list[str]:
    if isinstance(node, dict):
        own = [node["file"]] if "file" in node else []
        return own + [path for child in node.values() for path in _files_in(child)]
    return [path for child in node for path in _files_in(child)] if isinstance(node, list) else []
