"""The ``model`` section of a scenario. It loads no PyTorch, so that a mistake in a scenario is told at once."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt

Norm = Literal["group", "batch"]

EncoderName = Literal["mlp", "conv4", "conv1d", "resnet18", "text"]

ENCODER_PLACES = {
    "mlp": "interlude.models.encoders:MLP",
    "conv4": "interlude.models.encoders:FourConv",
    "conv1d": "interlude.models.encoders:Conv1d",
    "resnet18": "interlude.models.encoders:ResNet18",
    "text": "interlude.models.encoders:Text",
}
"""The names of encoders, and where each class is."""


class ModelSpec(BaseModel):
    """The ``model`` section of a scenario."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    encoder: EncoderName | dict[str, EncoderName] = Field(description="one for all modalities, or one for each")
    width: PositiveInt = Field(512, le=2**20, description="feature dimension of every encoder")
    fusion: Literal["concat", "late_sum"] = Field("concat", description="how the head joins the modalities")
    norm: Norm = Field("group", description="group normalisation, or the statistics of each batch")

    def encoder_of(self, modality: str) -> EncoderName:
        """Return the encoder's name of a modality."""
        return self.encoder[modality] if isinstance(self.encoder, dict) else self.encoder
