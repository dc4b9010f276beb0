"""DivFL: FedAvg on clients whose gradients stand for everybody's.

Balakrishnan, Li, Zhou, Himayat, Smith, Bilmes, "Diverse Client Selection for Federated Learning via Submodular
Maximization", ICLR 2022.

    S <- stochastic greedy on G(S) = sum_i min_{k in S} ||g_i - g_k||,   g_k = theta_received - theta_k

"No overheads": every client is probed once before the first round, then the gradients of a round's clients are taken
from the updates they send anyway. With as many clients per round as there are it is FedAvg after a probe.
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any, Literal

from pydantic import Field, PositiveInt, model_validator

from interlude.models.network import Network, Parameters
from interlude.simulator.federation.client_day import LocalRound, Steps
from interlude.simulator.federation.rules import Barrier, ServerRule, Serving, gather
from interlude.simulator.federation.server import Choosing, Role, Server
from interlude.simulator.methods.base import Method, MethodOptions
from interlude.simulator.methods.card import FormulaCard
from interlude.simulator.methods.facility_location import Draw, GradientMap, greedy, pseudo_gradient
from interlude.simulator.methods.waiting import Ready, wait_for_all
from interlude.simulator.randomness import Stream
from interlude.simulator.training.merge import ClientUpdate
from interlude.simulator.training.objective import Objective
from interlude.simulator.training.task import LocalSteps

PROBE = "probe"
"""The role of a client that trains once before the first round, so that the server knows its gradient."""


class DivFLOptions(MethodOptions):
    """Options of DivFL."""

    name: Literal["divfl"] = "divfl"
    server: ServerRule = Barrier()
    subset_size: PositiveInt | None = Field(
        None, description="clients a greedy step looks at; unset: clients per round or a tenth of all, the larger"
    )
    gradients: Literal["model", "encoders"] = Field(
        "model", description="parts whose gradients are compared; encoders: heads left out"
    )

    @model_validator(mode="after")
    def _needs_rounds(self) -> "DivFLOptions":
        if not isinstance(self.server, Barrier):
            raise ValueError(
                "DivFL probes all clients and then chooses round by round, so its server.rule must be 'barrier'"
            )
        return self


class DivFL(Method):
    """FedAvg with clients selected by facility location."""

    Options = DivFLOptions
    options: DivFLOptions
    card = FormulaCard(
        title="DivFL: diverse client selection",
        paper="Balakrishnan, Li, Zhou, Himayat, Smith, Bilmes, Diverse Client Selection for Federated Learning via "
        "Submodular Maximization, ICLR 2022",
        client="as FedAvg: E epochs of SGD on CE(fused logits); before the first round every client makes one epoch",
        server="S chosen one by one from random subsets of s clients by argmin_k sum_i min(u_i, ||g_i - g_k||), "
        "g_k = theta_received - theta_k the last update seen of k; then FedAvg's mean",
        payload="as FedAvg; in the probe every client's model goes down and its update comes up",
        waits="as FedAvg; the first round starts when everybody is back from the probe",
        staleness="always 0; the gradients of clients that were not selected lately are old",
        reconstructed=(
            "a client whose probe was lost counts as a zero gradient until it sends an update",
            "the gradient is that of the whole model unless gradients: encoders says otherwise",
            "that BMSFed's code runs DivFL on the encoders alone is inferred from its own distances, without heads",
        ),
        limits=(
            "server.clients_per_round unset: FedAvg after a probe",
            "gradients: encoders is, by that inference, the DivFL of BMSFed's code",
            "timing-only: selection is uniform, as there are no gradients",
        ),
    )

    def client_round(self, client: LocalRound) -> Steps:
        """Spend a local round, or the probe."""
        if client.role == PROBE:
            yield from probe_round(client, self.objective)
        else:
            yield from super().client_round(client)

    def serve(self, server: Server) -> Serving:
        """Probe everybody, then run rounds."""
        yield from probe(server)
        yield from super().serve(server)

    def choose(self, server: Server, num_clients: int) -> Choosing:
        """Take clients whose gradients stand for everybody's."""
        yield from ()

        def select() -> dict[int, Role]:
            draw = subset_draw(server, num_clients, self.options.subset_size)
            return dict.fromkeys(greedy(server.memory.matrix(), sorted(server.idle), num_clients, draw))

        return choose_by_values(server, num_clients, select)

    def initial_memory(self, network: Network, num_clients: int) -> GradientMap:
        """Return a map without any gradient."""
        del network
        return GradientMap.empty(num_clients)

    def learn(self, memory: GradientMap, updates: Sequence[ClientUpdate]) -> GradientMap:
        """Return the map with the updates' gradients."""
        encoders_only = self.options.gradients == "encoders"

        def wanted(group: str) -> bool:
            return not encoders_only or group.startswith("encoder.")

        return memory.refreshed({update.client: pseudo_gradient(update, wanted) for update in updates})

    def merge(
        self, model: Parameters, memory: GradientMap, updates: Sequence[ClientUpdate]
    ) -> tuple[Parameters, GradientMap]:
        """Return FedAvg's mean, and the map with the round's gradients."""
        merged, _ = super().merge(model, memory, updates)
        return merged, self.learn(memory, updates)


def probe(server: Server) -> Generator[Any, Any, None]:
    """Send every client out in the role `PROBE`, wait for all, and remember what they report."""
    everybody = sorted(server.idle)
    server.dispatch(server.take(dict.fromkeys(everybody, PROBE)))
    updates = yield from gather(server, everybody)
    if updates:
        server.learn(updates)


def probe_round(client: LocalRound, objective: Callable[[Ready], Objective]) -> Steps:
    """Spend the probe: one epoch on all modalities, at the scenario's learning rate, and its upload."""
    model = yield from client.download()
    ready = yield from wait_for_all(client, model, 1)
    trained = yield from client.train(LocalSteps(objective(ready), client.num_steps(1), "joint"), start=ready.start)
    yield from client.upload(trained)


def choose_by_values(server: Server, num_clients: int, select: Callable[[], Mapping[int, Role]]) -> Mapping[int, Role]:
    """Take the idle clients that `select` names, or where there are no values, uniformly drawn ones."""
    roles: Mapping[int, Role] | None = server.executor.decide(select, lambda: None)
    return server.draw(num_clients) if roles is None else server.take(roles)


def subset_draw(server: Server, num_wanted: int, subset_size: int | None) -> Draw:
    """Return the random subsets of one selection's greedy steps, each in the order of clients.

    Args:
        server: whose clients they are.
        num_wanted: clients to be selected.
        subset_size: clients in a subset; None for `num_wanted` or a tenth of all, the larger.
    """
    stream = Stream(server.seed, "facility-location")
    size, moment = subset_size or max(num_wanted, server.num_clients // 10), server.num_returned

    def draw(step: int, left: Sequence[int]) -> Sequence[int]:
        order = stream.generator(moment, step).permutation(len(left))
        return [left[position] for position in sorted(order[:size])]

    return draw
