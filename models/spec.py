"""The ``model`` section of a scenario. It loads no PyTorch, so that a mistake in a scenario is told at once."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, PositiveInt, Tag

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


class OwnModule(BaseModel):
    """An encoder or a fusion head of a user's own, see `interlude.models.own`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[^:]+:[^:]+$", description="package.module:Class, or a function that returns a module")
    options: dict[str, Any] = Field({}, description="keyword arguments")


_BUILT_IN, _OWN, _EACH = "[built in]", "[own]", "[each]"  # not valid as keys, so that no error message names them


def _choice_of(given: Any) -> str:
    """Return whether something is a name in the table or a module of a user's own."""
    is_own = ":" in given if isinstance(given, str) else isinstance(given, OwnModule | Mapping)
    return _OWN if is_own else _BUILT_IN


def _encoders_of(given: Any) -> str:
    """Return whether something is one encoder, or a mapping with one for each modality."""
    return _EACH if isinstance(given, Mapping) and "name" not in given else _choice_of(given)


def _named(given: Any) -> Any:
    return {"name": given} if isinstance(given, str) else given


_OwnName = Annotated[str, Field(pattern=r"^[^:]+:[^:]+$")]
_Own = Annotated[OwnModule, BeforeValidator(_named, json_schema_input_type=_OwnName | OwnModule), Tag(_OWN)]
_BuiltIn = Annotated[EncoderName, Tag(_BUILT_IN)]
_Encoder = Annotated[_BuiltIn | _Own, Discriminator(_choice_of)]
_Encoders = Annotated[_BuiltIn | _Own | Annotated[dict[str, _Encoder], Tag(_EACH)], Discriminator(_encoders_of)]
_Fusion = Annotated[Annotated[Literal["concat", "late_sum"], Tag(_BUILT_IN)] | _Own, Discriminator(_choice_of)]


class ModelSpec(BaseModel):
    """The ``model`` section of a scenario."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    encoder: _Encoders = Field(
        description="one for all modalities, or one for each; a name, or one of your own as package.module:name or as "
        "{name: package.module:name, options: {...}}"
    )
    width: PositiveInt = Field(512, le=2**20, description="feature dimension of every encoder")
    fusion: _Fusion = Field("concat", description="how the head joins the modalities; or one of your own")
    norm: Norm = Field("group", description="group normalisation, or the statistics of each batch")

    def encoder_of(self, modality: str) -> EncoderName | OwnModule:
        """Return a modality's encoder: its name, or one of a user's own."""
        return self.encoder[modality] if isinstance(self.encoder, dict) else self.encoder

    def own_modules(self) -> dict[str, OwnModule]:
        """Return the modules of a user's own by the field that names them."""
        named = {"model.fusion": self.fusion, "model.encoder": self.encoder}
        if isinstance(self.encoder, dict):
            named |= {f"model.encoder.{modality}": encoder for modality, encoder in self.encoder.items()}
        return {field: module for field, module in named.items() if isinstance(module, OwnModule)}
