"""Options of BMSFed, and the role of a client that trains one modality alone."""

from typing import Literal, NamedTuple

from pydantic import Field, NonNegativeFloat, PositiveInt, model_validator

from interlude.simulator.federation.rules import Barrier, ServerRule
from interlude.simulator.methods.bmsfed.enhancement import Source
from interlude.simulator.methods.bmsfed.measures import Ratio
from interlude.simulator.methods.facility_location import Compared, Rule
from interlude.simulator.methods.options import MethodOptions


class BMSFedOptions(MethodOptions):
    """Options of BMSFed; `selection`, `enhancement` and `prototypes` are its ablation switches."""

    name: str = "bmsfed"
    server: ServerRule = Barrier()
    selection: Literal["submodular", "uniform"] = Field(
        "submodular",
        description="submodular: BMSFed's choice after a probe of all clients; uniform: no choice, no probe",
    )
    rule: Rule = Field(
        "paper",
        description="whom a greedy step selects. paper: k2, for one modality or for all; literal: k1 for all, as "
        "eq. 12 says, and k2 as in paper; code: k2 for one modality, or else k1 for all",
    )
    chi: float | None = Field(
        1.5, ge=1, description="imbalance above which a client trains the weak modality alone; null: never"
    )
    subset_size: PositiveInt | None = Field(
        None, description="clients a greedy step looks at; unset: clients per round or a tenth of all, the larger"
    )
    gradients: Compared = Field(
        "encoders", description="what D^M compares: encoders, as the published code; model: heads too"
    )
    enhancement: bool = Field(True, description="the modal-enhancement loss; false: cross-entropy only")
    coefficient: Literal["paper", "code"] = Field(
        "paper",
        description="its weight. paper: eq. 19, by rho_k, once a local round; code: `weight`, in every mini-batch for "
        "the modality that is behind in it, and always where one modality is trained alone",
    )
    weight: NonNegativeFloat = Field(2.0, description="MI_alpha; read with coefficient: code only")
    prototypes: Source = Field("global", description="what the enhancement compares with; local: nothing is sent")
    ratio: Ratio = Field(
        "scores",
        description="what rho_k is a ratio of. scores: eq. 16; accuracy: nearest-prototype accuracies, as in the code",
    )
    measures: Literal["trained", "held"] = Field(
        "trained",
        description="what a client reports prototypes and s_m of when it trains the weak modality alone; held: of all "
        "modalities it holds, as in the code, which it then downloads and waits for",
    )

    @model_validator(mode="after")
    def _selection_needs_rounds(self) -> "BMSFedOptions":
        if self.selection == "submodular" and not isinstance(self.server, Barrier):
            raise ValueError(
                "selection 'submodular' probes all clients and then chooses round by round: it needs server.rule "
                "'barrier', or else selection 'uniform'"
            )
        return self


class Weak(NamedTuple):
    """The role of a client that trains one modality alone."""

    modality: str
    ratio: float
    """How many times better the others scored at this client when it was last heard of."""
