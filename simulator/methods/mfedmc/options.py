"""Options of MFedMC."""

from typing import Literal

from pydantic import Field, NonNegativeFloat, PositiveInt

from interlude.simulator.federation.rules import Barrier
from interlude.simulator.methods.options import MethodOptions


class MFedMCOptions(MethodOptions):
    """Options of MFedMC."""

    name: str = "mfedmc"
    server: Barrier = Field(Barrier(), description="a barrier, whose clients train; some of them are asked to upload")
    modalities_per_client: PositiveInt = Field(1, description="gamma, modalities that a client offers to upload")
    client_share: float = Field(
        0.2, gt=0, le=1, description="delta, share of those that offer a modality who upload it"
    )
    losses: Literal["lowest", "highest"] = Field("lowest", description="which losses are preferred among them")
    impact_weight: NonNegativeFloat = Field(1 / 3, description="alpha_s, weight of a modality's Shapley value")
    size_weight: NonNegativeFloat = Field(1 / 3, description="alpha_c, weight of a small encoder")
    recency_weight: NonNegativeFloat = Field(1 / 3, description="alpha_r, weight of the rounds since it was offered")
