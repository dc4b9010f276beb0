"""Encoders: from one modality's input to a feature vector.

Shapes: B batch, C channels, H x W image, T frames or points in time, D features.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from interlude.models.inputs import InputSpec
from interlude.models.spec import ENCODER_PLACES, Norm
from interlude.simulator.importing import ImportTable

_RESNET_FEATURES = 512
_CHANNELS_PER_GROUP = 16
_EMBEDDING_FEATURES = 128


class _BatchNorm(nn.BatchNorm2d):
    """Normalises by the present batch; a single value becomes 0, where PyTorch's layer raises an error.

    A client's last mini-batch may be a single sample, and deep in a network a small image is a single pixel.
    """

    def forward(self, x: Tensor) -> Tensor:
        on_cudnn = torch.backends.cudnn.enabled
        return torch.batch_norm(x, self.weight, self.bias, None, None, True, 0.0, self.eps, on_cudnn)


def _norm(kind: Norm, num_channels: int) -> nn.Module:
    """Return a normalisation without running state, so that parameters are the whole model."""
    if kind == "batch":
        return _BatchNorm(num_channels, track_running_stats=False)
    return nn.GroupNorm(max(1, num_channels // _CHANNELS_PER_GROUP), num_channels)


class MLP(nn.Module):
    """Two fully connected layers with ReLU: [B, *shape] -> [B, D]."""

    def __init__(self, given: InputSpec, width: int, norm: Norm) -> None:
        super().__init__()
        num_inputs = int(torch.Size(given.shape).numel())
        self.layers = nn.Sequential(
            nn.Flatten(), nn.Linear(num_inputs, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU()
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the features."""
        features: Tensor = self.layers(x)
        return features


class _Mean(nn.Module):
    """The mean over some axes, kept at length 1: average pooling, number for number.

    `nn.AdaptiveAvgPool2d` sets the strides of what is channels last, in place, which `torch.vmap` does client by client
    and warns of.
    """

    def __init__(self, *axes: int) -> None:
        super().__init__()
        self._axes = axes

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(dim=self._axes, keepdim=True)


class FourConv(nn.Module):
    """The four-convolution network of CG-MNIST in BMSFed's experiments: [B, C, H, W] -> [B, D]."""

    def __init__(self, given: InputSpec, width: int, norm: Norm) -> None:
        super().__init__()
        channels = given.shape[0]
        self.layers = nn.Sequential(
            _norm(norm, channels),
            nn.Conv2d(channels, 32, 5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(3, stride=2, padding=1),
            nn.Conv2d(32, 32, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(32, 64, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(64, 64, 3, padding=1),
            nn.ReLU(),
            _Mean(-2, -1),
            nn.Flatten(),
            nn.Linear(64, width),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the features."""
        features: Tensor = self.layers(x)
        return features


class Conv1d(nn.Module):
    """Three convolutions over time, each halving it, for the channels of a sensor: [B, C, T] -> [B, D]."""

    def __init__(self, given: InputSpec, width: int, norm: Norm) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv1d(given.shape[0], 32, 7, stride=2, padding=3),
            nn.ReLU(),
            nn.Conv1d(32, 64, 5, stride=2, padding=2),
            nn.ReLU(),
            nn.Conv1d(64, 64, 3, stride=2, padding=1),
            nn.ReLU(),
            _Mean(-1),
            nn.Flatten(),
            nn.Linear(64, width),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the features."""
        features: Tensor = self.layers(x)
        return features


class _BasicBlock(nn.Module):
    """Two 3x3 convolutions with a shortcut (He et al., "Deep Residual Learning", CVPR 2016)."""

    def __init__(self, channels_in: int, channels: int, stride: int, norm: Norm) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels_in, channels, 3, stride=stride, padding=1, bias=False),
            _norm(norm, channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            _norm(norm, channels),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels_in != channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels_in, channels, 1, stride=stride, bias=False), _norm(norm, channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.body(x) + self.shortcut(x))


class ResNet18(nn.Module):
    """ResNet-18 without its classifier: [B, C, H, W] -> [B, D]; [B, C, T, H, W] is averaged over its T frames.

    Its features are 512-d; another width adds one linear layer.
    """

    def __init__(self, given: InputSpec, width: int, norm: Norm) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(given.shape[0], 64, 7, stride=2, padding=3, bias=False),
            _norm(norm, 64),
            nn.ReLU(),
            nn.MaxPool2d(3, stride=2, padding=1),
        )
        stages = [(64, 64, 1), (64, 128, 2), (128, 256, 2), (256, 512, 2)]
        self.stages = nn.Sequential(
            *(
                block
                for channels_in, channels, stride in stages
                for block in (
                    _BasicBlock(channels_in, channels, stride, norm),
                    _BasicBlock(channels, channels, 1, norm),
                )
            )
        )
        narrow = nn.Identity() if width == _RESNET_FEATURES else nn.Linear(_RESNET_FEATURES, width)
        self.pool = nn.Sequential(_Mean(-2, -1), nn.Flatten(), narrow)

    def forward(self, x: Tensor) -> Tensor:
        """Return the features."""
        if x.dim() == 4:
            features: Tensor = self.pool(self.stages(self.stem(x)))
            return features
        num_frames = x.shape[2]
        frames = x.transpose(1, 2).flatten(0, 1)  # [B, C, T, H, W] -> [B T, C, H, W]
        features = self.forward(frames)
        return features.reshape(-1, num_frames, features.shape[1]).mean(dim=1)


class Text(nn.Module):
    """Mean of token embeddings, one linear layer and ReLU: [B, T] token numbers -> [B, D].

    Padding (token 0) is ignored; a text of only padding has the mean 0.
    """

    def __init__(self, given: InputSpec, width: int, norm: Norm) -> None:
        super().__init__()
        num_tokens = given.num_tokens or 0
        # As the matrix of a linear layer on one-hot tokens: packed parameters lie transposed, one row for each token.
        self.embedding = nn.Parameter(torch.empty(_EMBEDDING_FEATURES, num_tokens))
        self.linear = nn.Linear(_EMBEDDING_FEATURES, width)

    def forward(self, x: Tensor) -> Tensor:
        """Return the features."""
        is_word = (x != 0).to(self.embedding.dtype)
        embedded = functional.embedding(x, self.embedding.t())
        mean = (embedded * is_word.unsqueeze(-1)).sum(dim=-2) / is_word.sum(dim=-1, keepdim=True).clamp(min=1.0)
        return torch.relu(self.linear(mean))


Encoder = MLP | FourConv | Conv1d | ResNet18 | Text

ENCODERS: ImportTable[type[Encoder]] = ImportTable(ENCODER_PLACES)

_AXES = {"conv4": (3,), "conv1d": (2,), "resnet18": (3, 4)}
"""How many axes samples may have: images, series, or videos too."""
_WANTED = {"conv4": "images", "conv1d": "series [channels, time]", "resnet18": "images"}
_TOKEN_ENCODERS = frozenset({"text"})


def misfit(encoder: str, given: InputSpec) -> str | None:
    """Return why an encoder cannot read a modality, and the encoders that can; None if it can."""
    if _reads(encoder, given):
        return None
    use = f"use {' or '.join(name for name in sorted(ENCODERS) if _reads(name, given))}"
    if (given.num_tokens is not None) != (encoder in _TOKEN_ENCODERS):
        return f"'{encoder}' cannot read {'numbers' if given.num_tokens is None else 'tokens'}; {use}"
    return f"'{encoder}' wants {_WANTED[encoder]}, not samples of shape {given.shape}; {use}"


def _reads(encoder: str, given: InputSpec) -> bool:
    if given.num_tokens is not None or encoder in _TOKEN_ENCODERS:
        return given.num_tokens is not None and encoder in _TOKEN_ENCODERS
    return encoder not in _AXES or len(given.shape) in _AXES[encoder]
