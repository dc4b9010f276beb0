"""For how many versions a method does something, an option of several."""

from pydantic import ConfigDict, PositiveInt, RootModel


class ActiveVersions(RootModel[PositiveInt | None]):
    """For how long something is done: while the model has fewer versions (rounds at a barrier); None: always."""

    model_config = ConfigDict(frozen=True)

    def __contains__(self, version: int) -> bool:
        """Return whether it is done at a version."""
        return self.root is None or version < self.root


MODULATED_VERSIONS = ActiveVersions(71)
"""How long BMSFed's code (ECCV 2024) modulates: in its rounds 0 to 70, the last included."""
