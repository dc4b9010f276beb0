"""What clients keep from one local round to the next without sending it."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from interlude.simulator.training.merge import ClientUpdate
from interlude.simulator.training.values import Values


class Kept(NamedTuple):
    """The values that each client keeps; they are in the server's memory, but never travel."""

    first: Values
    """Those of a client that has kept nothing yet."""
    own: Mapping[int, Values]
    """Those of the others, by client."""

    def of(self, client: int) -> Values:
        """Return a client's values, always the same keys and shapes."""
        return self.own.get(client, self.first)

    def updated(self, updates: Sequence[ClientUpdate]) -> "Kept":
        """Return this with what updates report; what one does not report stays as it was."""
        own = dict(self.own)
        for update in updates:
            reported = {key: value for key, value in update.report.items() if key in self.first}
            own[update.client] = {**own.get(update.client, self.first), **reported}
        return Kept(self.first, own)
