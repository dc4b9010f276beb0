"""FedNH's network: a fusion head of class prototypes, which scores features by their angles to them.

Shapes: B batch, D features, K classes; M modalities, P of them given. With hat for a vector of length 1, a prototype of
class c is w_c = [w_c^1; ..; w_c^M] / sqrt(M), w_c^m of length 1, and the input [z_hat^1; ..; z_hat^M] / sqrt(P), zeros
for those that miss:

    logit_c = s sum_m <z_hat^m, w_c^m> / sqrt(P M)

Groups: ``encoder.m``, ``head.m`` (the w_c^m) and ``head._shared`` (the scale s).
"""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from interlude.models.groups import HEAD, SHARED_HEAD, group_name
from interlude.models.inputs import Inputs
from interlude.models.network import Network, Parameters
from interlude.models.spec import ModelSpec

SCALE = f"{SHARED_HEAD}.scale"
"""The name of s."""
_SHARED = SHARED_HEAD.partition(".")[2]


def prototype_name(modality: str) -> str:
    """Return the name of a modality's part of the prototypes [K, D]."""
    return f"{group_name(HEAD, modality)}.weight"


class PrototypeNetwork(Network):
    """Encoders, and a head of prototypes in place of the one that the specification names.

    Args:
        spec: the encoders and their width.
        inputs: one sample of each modality, in the order of modalities; a bare shape means floats.
        num_classes: classes.
        scale: s at the start.
    """

    def __init__(self, spec: ModelSpec, inputs: Inputs, num_classes: int, scale: float) -> None:
        self._scale = scale
        super().__init__(spec, inputs, num_classes)
        self._made_of = (spec, inputs, num_classes, scale)

    def initial_parameters(self, generator: torch.Generator, device: torch.device) -> Parameters:
        """Return fresh parameters: prototypes of length 1, orthogonal where a class has a dimension of its own."""
        parameters = dict(super().initial_parameters(generator, device))
        for name in map(prototype_name, self.modalities):
            prototypes = nn.init.orthogonal_(torch.empty(self.shapes[name].shape), generator=generator)
            parameters[name] = functional.normalize(prototypes, dim=1).to(device)
        parameters[SCALE] = torch.full_like(parameters[SCALE], self._scale)
        return parameters

    def _build(self, spec: ModelSpec) -> dict[str, nn.Module]:
        return super()._build(spec) | {HEAD: _PrototypeHead(self.modalities, spec.width, self.num_classes)}


class _Scale(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.empty(1))


class _PrototypeHead(nn.Module):
    def __init__(self, modalities: Sequence[str], width: int, num_classes: int) -> None:
        super().__init__()
        for modality in modalities:
            self._modules[modality] = nn.Linear(width, num_classes, bias=False)
        self._modules[_SHARED] = _Scale()

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        """Return the logits [B, K] of the features [B, D] at hand."""
        cosines = []
        for modality, z in features.items():
            prototypes = self._modules[modality]
            assert prototypes is not None, modality
            cosines.append(prototypes(functional.normalize(z, dim=1)))
        shared = self._modules[_SHARED]
        assert isinstance(shared, _Scale)
        return shared.scale * torch.stack(cosines).sum(dim=0) / math.sqrt(len(cosines) * (len(self._modules) - 1))
