"""What every method is made of; `methods.interface` says how to write one.

The axes are orthogonal: any method takes another ``waiting`` policy or ``server`` rule by a line of YAML, unless its
options' types say that it needs one.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

from interlude.models.inputs import Inputs
from interlude.models.network import Network, Parameters
from interlude.models.spec import ModelSpec
from interlude.simulator.federation.client_day import ClientDay
from interlude.simulator.federation.dispatch import ALL_TRAINED, Payload, Role, Steps
from interlude.simulator.federation.views import Process, SelectionView, ServerView
from interlude.simulator.methods.options import MethodOptions
from interlude.simulator.methods.waiting import WAITING, Ready
from interlude.simulator.training.merge import ClientUpdate, Holding
from interlude.simulator.training.objective import Objective, cross_entropy
from interlude.simulator.training.task import LocalSteps
from interlude.simulator.training.values import Values


class Method:
    """Base of all methods: download, wait, train, upload; merged as the server rule's paper says.

    Args:
        options: the method's entry in the scenario.
    """

    Options: ClassVar[type[MethodOptions]]
    min_modalities: ClassVar[int] = 1
    """Modalities that a data set must have."""
    needs_summed_head: ClassVar[bool] = False
    """Whether the fusion head must be a sum over modalities, which one of a user's own may not be."""
    selects: bool = False
    """Whether the method selects clients itself; found by what it overrides."""
    assigns: bool = False
    """Whether the method gives clients roles of its own at dispatch; found by what it overrides."""
    sends_alike: bool = False
    """Whether all clients are sent the global model and start from it, with no values of one's own; found likewise."""
    merges_plainly: bool = False
    """Whether it only merges as its server rule does, and remembers nothing; found by what it overrides."""

    def __init_subclass__(cls) -> None:
        """Find out what the class leaves as it is here, so that the federation need not ask."""
        super().__init_subclass__()
        cls.selects = not cls._inherits("select", "candidates")
        cls.assigns = not cls._inherits("assign")
        cls.sends_alike = cls._inherits("model_for", "start_for", "own_values", "values_for")
        cls.merges_plainly = cls._inherits("merge", "remember", "advance")

    @classmethod
    def _inherits(cls, *hooks: str) -> bool:
        """Return whether the class overrides none of some hooks."""
        return all(getattr(cls, hook) is getattr(Method, hook) for hook in hooks)

    def __init__(self, options: MethodOptions) -> None:
        self.options = options

    # What a client does

    def client_round(self, client: ClientDay) -> Steps:
        """Spend a client's local round: the hooks below, in their order."""
        yield from client.download(self.downloaded_groups(client))
        ready = yield from WAITING[self.options.waiting](client, self.options.unimodal_epochs)
        if client.trains_apart:
            yield from client.train(*self._each_alone(client, ready), activity="train_unimodal")
        else:
            yield from self.joint_training(client, ready)
        yield from client.upload(self.payload(client))

    def downloaded_groups(self, client: ClientDay) -> tuple[str, ...] | None:
        """Return the parameter groups that are sent to a client; None: all of its modalities'."""
        del client
        return None

    def joint_training(self, client: ClientDay, ready: Ready) -> Steps:
        """Train on what is ready: `local_steps`, cut short by an urgent notice where the server rule sends some."""
        steps = self.local_steps(client, ready)
        return client.train_until_notice(*steps) if self.options.server.hurries else client.train(*steps)

    def local_steps(self, client: ClientDay, ready: Ready) -> Sequence[LocalSteps]:
        """Return the optimiser steps of joint training, in order."""
        objective, scale = self.objective(client, ready), self.learning_rate_scale(client)
        return [LocalSteps(objective, self.num_steps(client), "joint", 0, self.proximal, scale)]

    def objective(self, client: ClientDay, ready: Ready) -> Objective:
        """Return what joint training minimises."""
        del client
        return cross_entropy(ready.modalities)

    def num_steps(self, client: ClientDay) -> int:
        """Return the number of optimiser steps of joint training: the scenario's local epochs here."""
        return client.num_steps()

    def learning_rate_scale(self, client: ClientDay) -> float:
        """Return the factor on the scenario's learning rate in joint training."""
        del client
        return 1.0

    @property
    def proximal(self) -> float:
        """Mu of (mu/2) ||w - w_received||^2 in joint training."""
        return self.options.proximal

    def payload(self, client: ClientDay) -> Payload:
        """Return what a client uploads."""
        del client
        return ALL_TRAINED

    def _each_alone(self, client: ClientDay, ready: Ready) -> list[LocalSteps]:
        """Return the steps of each modality alone, as one misses and the scenario says ``on_miss: uni_modal``."""
        num_steps, proximal, scale = self.num_steps(client), self.proximal, self.learning_rate_scale(client)
        return [
            LocalSteps(self.objective(client, Ready((m,))), num_steps, f"alone-{m}", 0, proximal, scale)
            for m in ready.modalities
        ]

    # What the server does

    def serve(self, server: ServerView) -> Process[None]:
        """Run the server for ever."""
        yield from self.before_rounds(server)
        yield from self.options.server.serve(server)

    def before_rounds(self, server: ServerView) -> Process[None]:
        """Do what a paper does before its first round, e.g. ask every client: nothing here."""
        del server
        yield from ()

    def candidates(self, view: SelectionView, num_clients: int) -> Mapping[int, Role]:
        """Return idle clients that are asked before every selection of `num_clients`, in their roles: none here."""
        del view, num_clients
        return {}

    def select(self, view: SelectionView, num_clients: int) -> Mapping[int, Role] | None:
        """Return up to `num_clients` idle clients and their roles; None: drawn uniformly, without roles.

        The server writes the answer down, so a resumed run is given the same one without asking again.
        """
        del view, num_clients
        return None

    def assign(self, memory: Any, roles: Mapping[int, Role]) -> Mapping[int, Role]:
        """Return the roles of clients that are dispatched now, e.g. how long each trains: those selected here.

        The server writes the answer down, as it does what is selected, so it may depend on values.
        """
        del memory
        return roles

    def network(self, spec: ModelSpec, inputs: Inputs, num_classes: int) -> Network:
        """Return the network that is trained: what the scenario names, unless the method adds parts of its own."""
        return Network(spec, inputs, num_classes)

    def initial_memory(self, network: Network, num_clients: int) -> Any:
        """Return what the server remembers besides the model; nothing here."""
        del network, num_clients

    def model_for(self, model: Parameters, memory: Any, client: int) -> Parameters:
        """Return what a client downloads: the global model here."""
        del memory, client
        return model

    def start_for(self, received: Parameters, memory: Any, client: int) -> Parameters:
        """Return the parameters from which a client's training starts: what it downloads here.

        `Context.received` and the proximal term see what it downloads, whatever this returns.
        """
        del memory, client
        return received

    def own_values(self, memory: Any, client: int) -> Values:
        """Return values that a client has of its own, beside the broadcast: nothing here.

        They cost no bytes: what of them travels is for the payload to say. What a client kept of its earlier rounds is
        its last update in the memory, so a round whose upload is lost, or not merged yet when the next begins, is lost
        to it. Their shapes are always the same, and a day may train with others in their place.
        """
        del memory, client
        return {}

    def broadcast(self, memory: Any) -> Values:
        """Return what is sent along with the model, its shapes always the same; nothing here."""
        del memory
        return {}

    def values_for(self, memory: Any, client: int) -> Values:
        """Return what is sent to one client besides, its names and shapes always the same; nothing here."""
        del memory, client
        return {}

    def observe(self, memory: Any) -> Values:
        """Return what should be recorded of the memory, 0-d each; nothing here."""
        del memory
        return {}

    # How updates become the next model: pure functions

    def merge(self, model: Parameters, memory: Any, updates: Sequence[ClientUpdate]) -> Parameters:
        """Return the next model, as the server rule's paper merges."""
        del memory
        return self.options.server.merge(model, updates)

    def remember(self, memory: Any, updates: Sequence[ClientUpdate]) -> Any:
        """Return the memory after updates, merged or only asked for; unchanged here."""
        del updates
        return memory

    def fold(self, model: Parameters, updates: Sequence[Holding], results: Iterable[Parameters]) -> Parameters | None:
        """Return what `merge` would, of results that come one after the other and are not kept.

        None, with no result read, where updates are needed all at once: by the server rule, or by a class that merges
        or remembers in its own way.
        """
        return self.options.server.fold(model, updates, results) if self.merges_plainly else None

    def advance(self, model: Parameters, memory: Any, updates: Sequence[ClientUpdate]) -> tuple[Parameters, Any]:
        """Return the next model and memory, both made from the ones before; override it where one yields the other."""
        return self.merge(model, memory, updates), self.remember(memory, updates)
