"""What every method is made of: a client's day, an objective, a server rule and a merge.

A method is one file with options (pydantic), a formula card and a class that overrides what differs. The axes are
orthogonal: any method takes another ``waiting`` policy or ``server`` rule by a line of YAML.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, PositiveInt

from interlude.models.inputs import Inputs
from interlude.models.network import ModelSpec, Network, Parameters
from interlude.simulator.federation.client_day import LocalRound, Steps
from interlude.simulator.federation.rules import Barrier, Buffered, OnArrival, ServerRule, Serving
from interlude.simulator.federation.server import Choosing, Server, State
from interlude.simulator.methods.card import FormulaCard
from interlude.simulator.methods.waiting import WAITING, Ready, WaitingName
from interlude.simulator.training.merge import ClientUpdate, add_deltas, mix, num_holders, weighted_mean
from interlude.simulator.training.objective import CrossEntropy, Objective, Values, proximal
from interlude.simulator.training.task import LocalSteps


class MethodOptions(BaseModel):
    """Options that every method shares."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    name: str
    label: str | None = Field(
        None,
        max_length=200,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$",
        description="name in tables and run directories; unset: the method's name",
    )
    waiting: WaitingName = Field("all", description="what a client does until its modalities are there")
    server: ServerRule = Field(description="when the server merges")
    proximal: NonNegativeFloat = Field(0.0, description="mu of (mu/2) ||w - w_received||^2 in joint training")
    unimodal_epochs: PositiveInt = Field(
        1, description="most passes over the window that gap training makes per modality"
    )

    @property
    def run_label(self) -> str:
        """What the run is called."""
        return self.label or self.name.rpartition(":")[2]

    def check_modalities(self, modalities: Sequence[str]) -> None:
        """Check options that name modalities against the data set's.

        Raises:
            ValueError: naming the option, what was given and what is accepted.
        """
        del modalities


class Method:
    """Base of all methods: download, wait, train, upload; merged as the server rule's paper says.

    Args:
        options: the method's entry in the scenario.
    """

    Options: ClassVar[type[MethodOptions]]
    card: ClassVar[FormulaCard]

    def __init__(self, options: MethodOptions) -> None:
        self.options = options

    def client_round(self, client: LocalRound) -> Steps:
        """Spend a client's local round."""
        model = yield from client.download()
        ready = yield from WAITING[self.options.waiting](client, model, self.options.unimodal_epochs)
        if client.trains_apart:
            trained = yield from self.train_apart(client, ready)
        else:
            joint = LocalSteps(self.objective_at(client, ready), client.num_steps(), "joint")
            trained = yield from client.train(joint, start=ready.start)
        yield from client.upload(trained)

    def train_apart(self, client: LocalRound, ready: Ready) -> Steps:
        """Train each modality alone, as a modality misses and the scenario says ``on_miss: uni_modal``."""
        steps = client.num_steps()
        stints = [
            LocalSteps(self.objective_at(client, Ready(ready.start, (m,))), steps, f"alone-{m}")
            for m in ready.modalities
        ]
        return (yield from client.train(*stints, start=ready.start, kind="train_unimodal"))

    def objective_at(self, client: LocalRound, ready: Ready) -> Objective:
        """Return what joint training minimises in a local round, where its version or role matters."""
        del client
        return self.objective(ready)

    def objective(self, ready: Ready) -> Objective:
        """Return what joint training minimises."""
        return proximal(CrossEntropy(ready.modalities), self.options.proximal)

    def serve(self, server: Server) -> Serving:
        """Run the server for ever."""
        return self.options.server.serve(server)

    def network(self, spec: ModelSpec, inputs: Inputs, num_classes: int) -> Network:
        """Return the network that is trained: what the scenario names, unless the method adds parts of its own."""
        return Network(spec, inputs, num_classes)

    def choose(self, server: Server, num_clients: int) -> Choosing:
        """Take clients to dispatch: uniformly here."""
        yield from ()
        return server.draw(num_clients)

    def model_for(self, model: Parameters, memory: Any, client: int) -> Parameters:
        """Return what a client downloads: the global model here."""
        del memory, client
        return model

    def initial_memory(self, network: Network, num_clients: int) -> Any:
        """Return what the server remembers besides the model; nothing here."""
        del network, num_clients

    def learn(self, memory: Any, updates: Sequence[ClientUpdate]) -> Any:
        """Return the memory after updates that make no new version; unchanged here."""
        del updates
        return memory

    def broadcast(self, memory: Any) -> Values:
        """Return what is sent along with the model; nothing here."""
        del memory
        return {}

    def observe(self, memory: Any) -> Values:
        """Return what should be recorded of the memory; nothing here."""
        del memory
        return {}

    def merge(self, model: Parameters, memory: Any, updates: Sequence[ClientUpdate]) -> State:
        """Return the next model as the server rule's paper merges, and the memory."""
        return merge_by_rule(self.options.server, model, updates), memory


def merge_by_rule(
    rule: Barrier | OnArrival | Buffered, model: Parameters, updates: Sequence[ClientUpdate]
) -> Parameters:
    """Return the next model: FedAvg's mean at a barrier, FedAsync's mixing on arrival, FedBuff's buffered deltas."""
    match rule:
        case Barrier():
            return weighted_mean(model, updates)
        case OnArrival():
            (update,) = updates
            alpha = rule.mixing * rule.staleness.weight(update.staleness)
            return mix(model, update, dict.fromkeys(update.groups, alpha))
        case Buffered():

            def weight(position: int, group: str) -> float:
                return rule.staleness.weight(updates[position].staleness) / num_holders(updates, group)

            return add_deltas(model, updates, weight, rule.learning_rate)
