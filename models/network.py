"""The network of a run: stateless code; its parameters are passed in, in named groups.

Groups are the unit of payloads, merges and staleness: ``encoder.<modality>``, ``head.<modality>`` and, for a
concatenation head, ``head.bias``.
"""

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from interlude.models.encoders import ENCODERS
from interlude.models.fusion import HEADS, ConcatHead
from interlude.models.groups import HEAD, SHARED_HEAD, encoder_group, group_of, modality_of, part_of
from interlude.models.inputs import Inputs, InputSpec, Reader, lacking
from interlude.models.own import own_encoder, own_fusion
from interlude.models.packed import layout_of
from interlude.models.spec import ModelSpec, OwnModule

Parameters = Mapping[str, Tensor]
"""Tensors by name; the first two components of a name are its group."""


class Output(NamedTuple):
    """The result of a forward pass."""

    logits: Tensor
    """[B, K]."""
    features: dict[str, Tensor]
    """[B, D] of each given modality."""


class Network:
    """Encoders and a fusion head over named modalities.

    Args:
        spec: encoders, width and head.
        inputs: one sample of each modality, in the order of modalities; a bare shape means floats.
        num_classes: classes.
    """

    def __init__(self, spec: ModelSpec, inputs: Inputs, num_classes: int) -> None:
        self._made_of: tuple[Any, ...] = (spec, inputs, num_classes)
        self.modalities = tuple(inputs)
        self.inputs = {modality: InputSpec.of(given) for modality, given in inputs.items()}
        """Shape and storage of one sample of each modality."""
        self._read = {modality: Reader(given) for modality, given in self.inputs.items()}
        self.num_classes = num_classes
        self.has_own_modules = bool(spec.own_modules())
        """Whether some module is of a user's own."""
        self._has_own_head = isinstance(spec.fusion, OwnModule)
        with torch.device("meta"):
            # The modules stay on the meta device: they hold code and shapes, never values.
            self._modules = self._build(spec)
        self._slots = {prefix: self._parameter_slots(prefix, module) for prefix, module in self._modules.items()}
        self.shapes: Parameters = {
            self._full_name(prefix, name): parameter.detach()
            for prefix, module in self._modules.items()
            for name, parameter in module.named_parameters()
        }
        """The parameters on the meta device: names, shapes and types without values."""
        self.groups: dict[str, tuple[str, ...]] = {}
        """Parameter names of each group, in order."""
        for name in self.shapes:
            group = group_of(name)
            self.groups[group] = (*self.groups.get(group, ()), name)
        self.group_bytes = {
            group: sum(self.shapes[name].numel() * self.shapes[name].itemsize for name in names)
            for group, names in self.groups.items()
        }
        """Dense payload of each group: sum of numel x itemsize."""
        self.shared_groups = tuple(group for group in self.groups if modality_of(group) is None)
        """The groups of no modality: the shared bias of a concatenation head."""
        first = next(iter(self.shapes.values()))
        self.layout = layout_of(tuple((name, value.shape) for name, value in self.shapes.items()), first.dtype)
        """Where the parameters lie in one flat vector."""
        self.num_bytes = cache(self._num_bytes)
        self.groups_of = cache(self._groups_of)

    def __reduce__(self) -> tuple[type["Network"], tuple[Any, ...]]:
        """Pickle the constructor's arguments; worker processes build their own network."""
        return type(self), self._made_of

    modality_of = staticmethod(modality_of)
    encoder_group = staticmethod(encoder_group)

    @property
    def has_convolutions(self) -> bool:
        """Whether some parameter is a convolution kernel."""
        return any(shape.dim() >= 3 for shape in self.shapes.values())

    @property
    def has_batch_statistics(self) -> bool:
        """Whether some layer mixes the samples of a batch, so that a batch cannot be padded."""
        modules = (module for root in self._modules.values() for module in root.modules())
        return any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in modules)

    def example(self, modalities: Iterable[str], num_samples: int) -> dict[str, Tensor]:
        """Return a batch of some modalities [num_samples, *shape] without values, in the network's order."""
        wanted = set(modalities)
        return {m: spec.example(num_samples) for m, spec in self.inputs.items() if m in wanted}

    def initial_parameters(self, generator: torch.Generator, device: torch.device) -> Parameters:
        """Return fresh parameters: Kaiming (fan-out) for convolutions, Xavier for linear layers, norms 1, biases 0.

        The slices of a concatenation head are one layer [K, M D] to Xavier. Embeddings are standard normal, however
        many tokens there are. All are drawn on the CPU, so that every device starts from the same numbers.
        """
        parameters = {}
        for name, shape in self.shapes.items():
            value = torch.zeros(shape.shape)
            if value.dim() >= 3:
                nn.init.kaiming_normal_(value, mode="fan_out", nonlinearity="relu", generator=generator)
            elif name.endswith(".embedding"):
                nn.init.normal_(value, generator=generator)
            elif value.dim() == 2:
                nn.init.xavier_normal_(value, self._xavier_gain(name), generator=generator)
            elif name.endswith("weight"):
                nn.init.ones_(value)
            parameters[name] = value.to(device)
        return parameters

    def __call__(self, parameters: Mapping[str, Tensor], inputs: Mapping[str, Tensor]) -> Output:
        """Return logits and features from the modalities in `inputs` ([B, *shape] each), the others zero-filled."""
        features = self.features(parameters, inputs)
        return Output(self.classify(parameters, features), features)

    def features(self, parameters: Mapping[str, Tensor], inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the features [B, D] of the modalities in `inputs`; zeros for samples that lack one."""
        return {modality: self._encoded(modality, parameters, x) for modality, x in inputs.items()}

    def _encoded(self, modality: str, parameters: Mapping[str, Tensor], x: Tensor) -> Tensor:
        read = self._read[modality](x)
        if self._masks(modality, x):
            read = torch.where(lacking(x).view(-1, *[1] * (x.dim() - 1)), 0, read)
        return self._without_lacking(modality, x, self._run(encoder_group(modality), parameters, read))

    def _without_lacking(self, modality: str, x: Tensor, features: Tensor) -> Tensor:
        """Return features [B, D] with zeros for the samples [B, *shape] that lack their modality."""
        return torch.where(lacking(x)[:, None], 0.0, features) if self._masks(modality, x) else features

    def _masks(self, modality: str, x: Tensor) -> bool:
        return self.inputs[modality].may_lack and not x.is_meta  # on shapes the cost of whole samples is counted

    def classify(self, parameters: Mapping[str, Tensor], features: Mapping[str, Tensor]) -> Tensor:
        """Return the logits [B, K] from the given features [B, D], the others zero-filled."""
        return self._run(HEAD, parameters, features)

    def _build(self, spec: ModelSpec) -> dict[str, nn.Module]:
        """Return the modules by the prefix of their parameters' names; a network with parts of its own adds them."""
        modules: dict[str, nn.Module] = {}
        for modality, given in self.inputs.items():
            encoder = spec.encoder_of(modality)
            modules[encoder_group(modality)] = (
                own_encoder(encoder, given, spec.width)
                if isinstance(encoder, OwnModule)
                else ENCODERS[encoder](given, spec.width, spec.norm)
            )
        head, fusion = (self.modalities, spec.width, self.num_classes), spec.fusion
        modules[HEAD] = own_fusion(fusion, *head) if isinstance(fusion, OwnModule) else HEADS[fusion](*head)
        return modules

    def _xavier_gain(self, name: str) -> float:
        """Return the factor on Xavier's deviation of a matrix by itself."""
        head = self._modules[HEAD]
        return head.slice_gain if part_of(name) == HEAD and isinstance(head, ConcatHead) else 1.0

    def _full_name(self, prefix: str, name: str) -> str:
        """Return a parameter's name from its module's prefix and its own; what a user's own head shares is marked."""
        is_shared = prefix == HEAD and self._has_own_head and name.partition(".")[0] not in self.modalities
        return f"{SHARED_HEAD if is_shared else prefix}.{name}"

    def _parameter_slots(self, prefix: str, module: nn.Module) -> list[tuple[dict[str, Any], str, str]]:
        """Return where a module keeps each parameter: (dictionary, key in it, full name)."""
        return [
            (owner._parameters, own_name, self._full_name(prefix, f"{path}.{own_name}" if path else own_name))
            for path, owner in module.named_modules()
            for own_name, parameter in owner._parameters.items()
            if parameter is not None
        ]

    def _run(self, prefix: str, parameters: Mapping[str, Tensor], given: object) -> Tensor:
        """Run a module with the given parameters in place of its own.

        As `torch.func.functional_call`, which checks names and restores the module at every call; these modules have no
        values to restore, and the checks cost noticeable time for small networks.
        """
        for slots, own_name, name in self._slots[prefix]:
            slots[own_name] = parameters[name]
        output: Tensor = self._modules[prefix](given)
        return output

    def _num_bytes(self, groups: tuple[str, ...]) -> int:
        """Return the dense payload of some groups."""
        return sum(self.group_bytes[group] for group in groups)

    def _groups_of(self, modalities: tuple[str, ...]) -> tuple[str, ...]:
        """Return the groups that the given modalities train: their encoders, their head slices and the shared bias."""
        return tuple(g for g in self.groups if g in self.shared_groups or modality_of(g) in modalities)


def select_groups(parameters: Mapping[str, Tensor], groups: Iterable[str]) -> Parameters:
    """Return the parameters that belong to `groups`."""
    wanted = set(groups)
    return {name: value for name, value in parameters.items() if group_of(name) in wanted}
