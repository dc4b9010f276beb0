"""Options that every method shares: what a method's entry in a scenario may say beside the method's own."""

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, PositiveInt

from interlude.models.network import Network
from interlude.simulator.federation.rules import ServerRule
from interlude.simulator.methods.waiting import WaitingName


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
    training: dict[str, Any] | None = Field(
        None, description="fields of the training section that are otherwise for this method; unset: none"
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

    def check_network(self, network: Network) -> None:
        """Check options against the scenario's network.

        Raises:
            ValueError: naming the option, what was given and what is accepted.
        """
        del network
