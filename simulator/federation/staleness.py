"""Staleness functions: the weight of an update that started `staleness` versions ago.

Xie, Koyejo, Gupta, "Asynchronous Federated Optimization" (2019). The hinge is the published form, 1 / (a (tau - b) + 1)
beyond b, not the variants of some code bases that add b or lack the + 1.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, NonNegativeInt


class ConstantStaleness(BaseModel):
    """s(tau) = 1."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    function: Literal["constant"] = "constant"

    def weight(self, staleness: int) -> float:
        """Return s(staleness)."""
        del staleness
        return 1.0


class PolynomialStaleness(BaseModel):
    """s(tau) = (1 + tau)^-exponent."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    function: Literal["polynomial"]
    exponent: NonNegativeFloat = 0.5

    def weight(self, staleness: int) -> float:
        """Return s(staleness)."""
        return float((1.0 + staleness) ** -self.exponent)


class HingeStaleness(BaseModel):
    """s(tau) = 1 up to b, then 1 / (a (tau - b) + 1)."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    function: Literal["hinge"]
    a: NonNegativeFloat = 10.0
    b: NonNegativeInt = 4

    def weight(self, staleness: int) -> float:
        """Return s(staleness)."""
        return 1.0 if staleness <= self.b else 1.0 / (self.a * (staleness - self.b) + 1.0)


StalenessSpec = Annotated[ConstantStaleness | PolynomialStaleness | HingeStaleness, Field(discriminator="function")]
