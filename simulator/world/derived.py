"""Parts of a scenario that hold what follows from their fields: a distribution's quantile function, a file's column."""

from collections.abc import Mapping
from typing import Any, Self

from pydantic import BaseModel


class Derived(BaseModel):
    """A model whose changed copy is made anew: Pydantic's own keeps what was derived from the old fields."""

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return a copy; one with changed fields is checked, and reads its file, as if it had been given so.

        Raises:
            pydantic.ValidationError: if the changed fields are not valid.
        """
        if not update:
            return super().model_copy(deep=deep)
        given = {name: getattr(self, name) for name in self.model_fields_set}
        return type(self).model_validate({**given, **update})
