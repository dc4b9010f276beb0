"""What the federation asks a method: the protocol that `methods.base.Method` fulfils."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from interlude.models.network import Network, Parameters
from interlude.simulator.federation.client_day import ClientDay
from interlude.simulator.federation.dispatch import PendingUpdate, Role, Steps
from interlude.simulator.federation.views import Process, SelectionView, ServerView
from interlude.simulator.training.merge import ClientUpdate
from interlude.simulator.training.values import Values


class Decisions(Protocol):
    """The part of a method that the federation calls; `methods.base.Method` documents each member."""

    selects: bool
    """Whether the method selects clients itself, so that its choices are journaled for a resumed run."""
    assigns: bool
    """Whether the method gives clients roles of its own at dispatch, which are journaled likewise."""
    sends_alike: bool
    """Whether every client is sent the global model and starts from it, with the broadcast and no values besides."""

    def client_round(self, client: ClientDay) -> Steps:
        """Spend a client's local round."""
        ...

    def serve(self, server: ServerView) -> Process[None]:
        """Run the server for ever."""
        ...

    def candidates(self, view: SelectionView, num_clients: int) -> Mapping[int, Role]:
        """Return the idle clients to probe before a selection, and their roles."""
        ...

    def select(self, view: SelectionView, num_clients: int) -> Mapping[int, Role] | None:
        """Return up to `num_clients` idle clients and their roles; None: drawn uniformly, without roles."""
        ...

    def assign(self, memory: Any, roles: Mapping[int, Role]) -> Mapping[int, Role]:
        """Return the roles of clients that are dispatched now."""
        ...

    def model_for(self, model: Parameters, memory: Any, client: int) -> Parameters:
        """Return the model that a client downloads."""
        ...

    def start_for(self, received: Parameters, memory: Any, client: int) -> Parameters:
        """Return the parameters from which a client's training starts."""
        ...

    def own_values(self, memory: Any, client: int) -> Values:
        """Return the values that a client has of its own; their shapes never change."""
        ...

    def initial_memory(self, network: Network, num_clients: int) -> Any:
        """Return the server's memory besides the model, before the first merge."""
        ...

    def fold(
        self, model: Parameters, updates: Sequence[PendingUpdate], results: Iterable[Parameters]
    ) -> Parameters | None:
        """Return the next model, of results that come one after the other; None if the method needs all at once."""
        ...

    def advance(self, model: Parameters, memory: Any, updates: Sequence[ClientUpdate]) -> tuple[Parameters, Any]:
        """Return the next model and memory."""
        ...

    def remember(self, memory: Any, updates: Sequence[ClientUpdate]) -> Any:
        """Return the memory after updates."""
        ...

    def broadcast(self, memory: Any) -> Values:
        """Return the values sent with the model; their shapes never change."""
        ...

    def values_for(self, memory: Any, client: int) -> Values:
        """Return the values sent to one client besides; their names and shapes never change."""
        ...

    def observe(self, memory: Any) -> Values:
        """Return the metrics of the memory, 0-d each."""
        ...
