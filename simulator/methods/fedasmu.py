"""FedASMU: mixing weights learned per client, and a fresh model taken in in mid-round (Liu et al., AAAI 2024)."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat
from torch import Tensor
from torch.nn import functional

from interlude.models.network import Network, Parameters
from interlude.simulator.counts import ceil_product
from interlude.simulator.federation.client_day import ClientDay
from interlude.simulator.federation.dispatch import Steps
from interlude.simulator.federation.rules import UnhurriedOnArrival
from interlude.simulator.methods.base import Method
from interlude.simulator.methods.options import MethodOptions
from interlude.simulator.methods.waiting import Ready
from interlude.simulator.training.merge import ClientUpdate, difference, mix
from interlude.simulator.training.objective import Batch, Context, CrossEntropy
from interlude.simulator.training.task import LocalSteps
from interlude.simulator.training.transfer import numbers
from interlude.simulator.training.values import Named, Values

_CONTROLS = Named("controls")
"""[3]: gamma_k, nu_k and the version as they are sent; beta and its slopes, over beta, as the objective sees them."""
_SLOPES = Named("slopes")


class FedASMUOptions(MethodOptions):
    """Options of FedASMU."""

    name: str = "fedasmu"
    server: UnhurriedOnArrival = UnhurriedOnArrival()
    server_mixing: PositiveFloat = Field(1.0, description="mu_alpha, scale of xi in the server's mixing weight")
    client_mixing: NonNegativeFloat = Field(1.0, description="mu_beta, scale of phi in a client's; 0: keeps its model")
    control_rate: NonNegativeFloat = Field(0.01, description="rate at which lambda, sigma, iota, gamma, nu are learned")
    request_at: float = Field(0.5, gt=0, le=1, description="share of its steps after which a client asks for the model")


class Controls(NamedTuple):
    """What is learned of one client."""

    scale: float = 1.0
    """lambda."""
    decay: float = 1.0
    """sigma."""
    offset: float = 0.0
    """iota."""
    fresh_scale: float = 1.0
    """gamma."""
    fresh_decay: float = 0.0
    """nu."""


@dataclass(frozen=True)
class Learned:
    """The server's memory."""

    version: int = 0
    alpha: float = 0.0
    """The last mixing weight."""
    controls: Mapping[int, Controls] = field(default_factory=dict)


@dataclass(frozen=True)
class TakesInFresh(CrossEntropy):
    """Cross-entropy after mixing the fresh model in; reports how the loss depends on gamma and nu."""

    def begin(self, network: Network, parameters: Parameters, window: Batch, context: Context) -> Parameters:
        """Return (1 - beta) w + beta y of the groups that are trained."""
        del window
        beta, names = context.broadcast[_CONTROLS][0], [n for g in self.groups(network) for n in network.groups[g]]
        return {name: parameters[name] + beta * (context.received[name] - parameters[name]) for name in names}

    def prepare(self, network: Network, parameters: Parameters, window: Batch, context: Context) -> Values:
        """Return F(mixed) - F(w) over the window times the slopes of beta, over beta."""
        beta, slopes = context.broadcast[_CONTROLS][0], context.broadcast[_CONTROLS][1:]
        names = [name for group in self.groups(network) for name in network.groups[group]]
        w = {n: parameters[n] + beta / (1.0 - beta) * (parameters[n] - context.received[n]) for n in names}
        change = self.loss(network, parameters, window, context) - self.loss(
            network, {**parameters, **w}, window, context
        )
        return {_SLOPES: change * slopes.to(change.device)}

    def report(self, network: Network, parameters: Parameters, window: Batch, context: Context) -> Values:
        """Return them."""
        del network, parameters, window
        return {_SLOPES: context.prepared[_SLOPES]}


class FedASMU(Method):
    """FedASMU.

    Paper:
        Liu, Jia, Che, Huo, Ren, Zhou, Dai, Dou, FedASMU: Efficient Asynchronous Federated Learning with Dynamic
        Staleness-aware Model Update, AAAI 2024
    Client:
        E epochs of SGD on CE(fused logits) from version o; after a share of its steps (request_at) it downloads y, the
        model of that moment, version g, and goes on from (1 - beta) w + beta y,
            phi  = gamma_k / sqrt(g) (1 - nu_k / sqrt(g - o + 1)), beta = mu_beta phi / (1 + mu_beta phi), at least 0
    Server:
        on each arrival, of client k at version t (this merge makes it), theta_g <- (1 - alpha) theta_g + alpha
        theta_k,g for the groups g trained,
            xi_k = lambda_k / (sqrt(t) tau^(sigma_k / 2)) + iota_k, alpha = mu_alpha xi_k / (1 + mu_alpha xi_k)
        lambda, sigma, iota, gamma, nu start at 1, 1, 0, 1, 0 and descend the client's loss at control_rate
    Payload:
        down: all groups of the modalities held, gamma_k, nu_k and the version, twice; up: the groups trained, n_k, and
        two floats
    Waits:
        clients wait for all their modalities, and for the second download; the server for no client
    Staleness:
        tau = 1 + versions merged since o, counted at the merge, whatever a client downloaded since. The server rule's
        own weights (mixing, staleness) are not used; with max_staleness older updates are dropped
    Limits:
        * mu_beta (client_mixing) = 0 and control_rate = 0: FedAsync with alpha = mu_alpha xi / (1 + mu_alpha xi), but
          for the second download
        * t counts merges, so alpha falls with the number of clients that return, not with time alone
        * the momentum of local training starts anew after the second download
    Reconstructed:
        * the paper's gradients were not found: of gamma and nu it is (F(mixed) - F(w)) / beta times beta's slope, two
          forward passes over the window; of lambda, sigma and iota, -cos(Delta_k, theta_k - theta) times alpha's slope,
          the client's own round standing for its loss; each control stays >= 0
        * the request comes after a fixed share of the steps, not one learned by reinforcement, and costs the latency of
          the download alone; rates and starting values are those of a third party's port (CyberStaZJU)
        * gamma and nu are kept by the simulated server and travel; clients that train each modality alone do not ask
        * g and t are counted from 1 where they are 0; all groups share alpha and beta
    """

    Options = FedASMUOptions
    options: FedASMUOptions

    def joint_training(self, client: ClientDay, ready: Ready) -> Steps:
        """Train, download the model of the moment, and train on from a mixture."""
        num_steps, mu = self.num_steps(client), self.proximal
        first = ceil_product(num_steps, self.options.request_at)
        yield from client.train(LocalSteps(self.objective(client, ready), first, "joint", proximal=mu))
        yield from client.refresh()
        gamma, nu, _ = client.broadcast[_CONTROLS].tolist()
        mixing = client_mixing(gamma, nu, client.version, client.latest_version, self.options.client_mixing)
        rest = LocalSteps(TakesInFresh(ready.modalities), num_steps - first, "joint", first, mu)
        yield from client.train(rest, broadcast={**client.broadcast, _CONTROLS: mixing})

    def initial_memory(self, network: Network, num_clients: int) -> Learned:
        """Return what is known before any merge."""
        del network, num_clients
        return Learned()

    def values_for(self, memory: Learned, client: int) -> Values:
        """Return gamma_k, nu_k and the version."""
        controls = memory.controls.get(client, Controls())
        return {_CONTROLS: torch.tensor([controls.fresh_scale, controls.fresh_decay, float(memory.version)])}

    def observe(self, memory: Learned) -> Values:
        """Return the last alpha."""
        return {Named("alpha"): torch.tensor(memory.alpha)}

    def advance(
        self, model: Parameters, memory: Learned, updates: Sequence[ClientUpdate]
    ) -> tuple[Parameters, Learned]:
        """Return the next model, and what is learned from the update."""
        (update,) = updates
        controls, scale = memory.controls.get(update.client, Controls()), self.options.server_mixing
        version, tau = memory.version + 1, update.staleness + 1
        fading = 1.0 / (math.sqrt(version) * tau ** (controls.decay / 2.0))
        xi = controls.scale * fading + controls.offset
        alpha = scale * xi / (1.0 + scale * xi)
        descent = difference(update.parameters, update.start, update.groups)
        cosine = functional.cosine_similarity(descent, difference(update.parameters, model, update.groups), dim=0)
        slopes = self.options.control_rate * update.report[_SLOPES] if _SLOPES in update.report else cosine.new_zeros(2)
        gain, *fresh = numbers([cosine, *slopes.unbind()])
        step = self.options.control_rate * gain * scale / (1.0 + scale * xi) ** 2
        learned = Controls(
            controls.scale + step * fading,
            controls.decay - step * controls.scale * fading * math.log(tau) / 2.0,
            controls.offset + step,
            controls.fresh_scale - fresh[0],
            controls.fresh_decay - fresh[1],
        )
        kept = {**memory.controls, update.client: Controls(*(max(0.0, value) for value in learned))}
        return mix(model, update, dict.fromkeys(update.groups, alpha)), Learned(version, alpha, kept)


def client_mixing(gamma: float, nu: float, start: int, version: int, scale: float) -> Tensor:
    """Return beta, and its derivatives with respect to gamma and nu, each over beta [3]."""
    age = math.sqrt(version - start + 1)
    phi = gamma / math.sqrt(max(version, 1)) * (1.0 - nu / age)
    if scale * phi <= 0.0:
        return torch.zeros(3)
    damped = 1.0 + scale * phi
    return torch.tensor([scale * phi / damped, 1.0 / (gamma * damped), -1.0 / ((age - nu) * damped)])
