"""DivFL: FedAvg on clients whose gradients represent those of all clients (Balakrishnan et al., ICLR 2022)."""

from collections.abc import Mapping, Sequence

from pydantic import Field, PositiveInt

from interlude.models.network import Network
from interlude.simulator.federation.client_day import ClientDay
from interlude.simulator.federation.dispatch import Role, Steps
from interlude.simulator.federation.rules import Barrier
from interlude.simulator.federation.views import Process, SelectionView, ServerView
from interlude.simulator.methods.base import Method
from interlude.simulator.methods.facility_location import Compared, GradientMap, compared_gradient, greedy, subset_draw
from interlude.simulator.methods.options import MethodOptions
from interlude.simulator.methods.probe import PROBE, probe, probe_round
from interlude.simulator.training.merge import ClientUpdate


class DivFLOptions(MethodOptions):
    """Options of DivFL."""

    name: str = "divfl"
    server: Barrier = Barrier()
    subset_size: PositiveInt | None = Field(
        None, description="clients a greedy step looks at; unset: clients per round or a tenth of all, the larger"
    )
    gradients: Compared = Field("model", description="parts whose gradients are compared; encoders: heads left out")


class DivFL(Method):
    """DivFL: diverse client selection.

    "No overheads": every client is probed once before the first round, then the gradients of a round's clients are
    taken from the updates they send anyway.

    Paper:
        Balakrishnan, Li, Zhou, Himayat, Smith, Bilmes, Diverse Client Selection for Federated Learning via Submodular
        Maximization, ICLR 2022
    Client:
        as FedAvg: E epochs of SGD on CE(fused logits); before the first round every client makes one epoch
    Server:
        S by stochastic greedy on G(S) = sum_i min_{k in S} ||g_i - g_k||: clients are chosen one by one from random
        subsets of s clients by argmin_k sum_i min(u_i, ||g_i - g_k||), g_k = theta_received - theta_k the last update
        seen of k; then FedAvg's mean
    Payload:
        as FedAvg; in the probe every client's model goes down and its update comes up
    Waits:
        as FedAvg; the first round starts when every client is back from the probe
    Staleness:
        always 0; the gradients of clients that were not selected lately are old
    Limits:
        * server.clients_per_round unset: FedAvg after a probe
        * gradients: model is the DivFL of BMSFed's code, which compares all parameters, heads included
        * timing-only: selection is uniform, as there are no gradients
    Reconstructed:
        * a client whose probe was lost counts as a zero gradient until it sends an update
        * gradients: encoders, without heads, is this project's
    """

    Options = DivFLOptions
    options: DivFLOptions

    def client_round(self, client: ClientDay) -> Steps:
        """Spend a local round, or the probe."""
        if client.role == PROBE:
            yield from probe_round(client, lambda ready: self.objective(client, ready), self.proximal)
        else:
            yield from super().client_round(client)

    def before_rounds(self, server: ServerView) -> Process[None]:
        """Probe all clients."""
        yield from probe(server)

    def select(self, view: SelectionView, num_clients: int) -> Mapping[int, Role] | None:
        """Return clients whose gradients stand for those of all."""
        gradients: GradientMap = view.memory
        if not gradients.vectors:
            return None
        draw = subset_draw(view, num_clients, self.options.subset_size)
        return dict.fromkeys(greedy(gradients.matrix(), view.idle, num_clients, draw))

    def initial_memory(self, network: Network, num_clients: int) -> GradientMap:
        """Return a map without any gradient."""
        del network
        return GradientMap.empty(num_clients)

    def remember(self, memory: GradientMap, updates: Sequence[ClientUpdate]) -> GradientMap:
        """Return the map with the updates' gradients."""
        parts = self.options.gradients
        return memory.refreshed({update.client: compared_gradient(update, parts) for update in updates})
