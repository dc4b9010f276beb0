"""Options of MBA: where the poster may be read in several ways, a switch for each."""

from typing import Literal

from pydantic import Field, NonNegativeFloat, model_validator

from interlude.simulator.federation.rules import OnArrival, ServerRule
from interlude.simulator.methods.mba.distances import DeltaName
from interlude.simulator.methods.mba.objective import AnchorForm, AnchorName, DistanceName
from interlude.simulator.methods.options import MethodOptions
from interlude.simulator.methods.waiting import WaitingName


class MBAOptions(MethodOptions):
    """Options of MBA; each of `waiting`, `distance`, `anchor`, `late_term` and `imbalance_acts` works without the rest.

    The defaults below are the only place where a reading is chosen.
    """

    name: str = "mba"
    waiting: WaitingName = Field("opportunistic", description="opportunistic: train in the gaps; all: wait idly")
    server: ServerRule = OnArrival()
    distance: DistanceName = Field(
        "prediction",
        description="d_m: how far joint training draws features from their anchors; how far the gap moved them; or how "
        "badly the received model predicts by a modality alone",
    )
    anchor: AnchorName = Field(
        "target", description="what joint training does with the features cached after a gap; none: not use them"
    )
    anchor_form: AnchorForm = Field(
        "sample", description="anchors in drift and targets: per sample, or means per class"
    )
    delta: DeltaName = Field("cosine", description="in drift and targets: 1 - cosine, or squared per dimension")
    late_term: bool = Field(True, description="in joint training each modality without a gap is also trained alone")
    imbalance_acts: Literal["server", "client", "both", "none"] = Field(
        "both", description="r_m in mixing weights, in the client's extra terms, in both; none: nothing is measured"
    )
    beta: NonNegativeFloat = Field(1.0, description="weight of the client's extra terms: targets and late modalities")
    gamma: NonNegativeFloat = Field(1.0, description="exponent of the imbalance r_m wherever it acts")
    smoothing: float = Field(0.2, gt=0, le=1, description="mu, weight of a new distance in the smoothed one")
    alpha_max: float = Field(0.9, gt=0, le=1, description="largest mixing weight of a modality")
    lazy_when: Literal["far", "near"] = Field("far", description="whether a suppressed modality's distance is large")

    @model_validator(mode="after")
    def _inputs_are_samples(self) -> "MBAOptions":
        if self.anchor == "input" and self.anchor_form == "class_mean":
            raise ValueError("anchor_form 'class_mean' is no input: it needs anchor 'target' or 'none'")
        return self

    @property
    def acts_at_server(self) -> bool:
        """Whether r_m acts where updates are merged."""
        return self.imbalance_acts in ("server", "both")

    @property
    def client_exponent(self) -> float:
        """Exponent of r_m in the client's extra terms; 0 where it does not act there or there are none."""
        acts = self.imbalance_acts in ("client", "both") and (self.late_term or self.anchor == "target")
        return self.gamma if acts and self.beta > 0.0 else 0.0
