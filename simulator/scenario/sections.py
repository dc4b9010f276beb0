"""The sections of a scenario YAML, as models that pydantic validates."""

from typing import Annotated, Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

LONGEST_NAME = 200  # file systems take 255 bytes, and a seed or the values of a sweep are appended to a name

NAME_FORM = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
"""The form of a name that is part of a run directory's path: it leads nowhere else."""

Name = Annotated[str, Field(max_length=LONGEST_NAME, pattern=NAME_FORM)]
_Target = Annotated[float, Field(gt=0, le=1)]


class Section(BaseModel):
    """A section of a scenario: immutable, every key known, every number finite."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ClientsSpec(Section):
    """The ``clients`` section."""

    count: PositiveInt = Field(description="clients in the federation")
    multimodal_fraction: float = Field(
        1.0, ge=0, le=1, description="share of clients that hold every modality; the rest hold one each, evenly"
    )
    modalities: dict[str, Annotated[float, Field(ge=0, le=1)]] | None = Field(
        None,
        description="share of clients that hold a modality, each drawn apart, in place of multimodal_fraction; "
        "1 where it is not named",
    )

    @model_validator(mode="after")
    def _one_way(self) -> "ClientsSpec":
        if self.modalities is not None and self.multimodal_fraction != 1.0:
            raise ValueError("takes 'multimodal_fraction' or 'modalities', not both")
        return self


class UntilSpec(Section):
    """The ``until`` section: the end of a run, whichever is reached first.

    `accuracy` and `patience_s` are looked at whenever the run is evaluated, of the `modality` alone if it is given: on
    the validation part where there is one (``evaluate.validation``), else on the test set. Every evaluation then waits
    for the training that it needs; in a timing-only run they have no effect.
    """

    simulated_s: PositiveFloat | None = Field(None, description="simulated seconds")
    versions: PositiveInt | None = Field(None, description="merges; rounds where there is a barrier")
    accuracy: float | None = Field(
        None,
        gt=0,
        le=1,
        description="accuracy that is reached, of the validation part if there is one, else of the test",
    )
    patience_s: PositiveFloat | None = Field(
        None, description="simulated seconds without a better accuracy, of the validation part or the test likewise"
    )
    modality: str | None = Field(None, description="whose accuracy it is, alone; unset: the fused accuracy")

    @model_validator(mode="after")
    def _ends(self) -> "UntilSpec":
        if self.simulated_s is None and self.versions is None and not self.watches_accuracy:
            raise ValueError("needs one of 'simulated_s', 'versions', 'accuracy', 'patience_s', or several")
        if self.modality is not None and not self.watches_accuracy:
            raise ValueError("modality: says whose 'accuracy' or 'patience_s' is meant; give one of these, too")
        return self

    @property
    def watches_accuracy(self) -> bool:
        """Whether an accuracy may end the run."""
        return self.accuracy is not None or self.patience_s is not None

    def __str__(self) -> str:
        """Return the ends in words."""
        of_modality = f" of {self.modality}" if self.modality else ""
        words = {
            "simulated_s": "{:g} simulated s",
            "versions": "{} versions",
            "accuracy": f"an accuracy{of_modality} of {{:g}}",
            "patience_s": f"{{:g}} s without a better accuracy{of_modality}",
        }
        given = {name: getattr(self, name) for name in words}
        return " or ".join(said.format(given[name]) for name, said in words.items() if given[name] is not None)


class EvaluateSpec(Section):
    """The ``evaluate`` section. Evaluating takes no simulated time and changes no event."""

    every_s: PositiveFloat = Field(description="simulated seconds between two evaluations")
    samples: PositiveInt | None = Field(
        None,
        description="samples that are evaluated, a fixed random subset of the test set, and as many of the validation "
        "part; unset: all",
    )
    validation: float = Field(
        0.0,
        ge=0,
        le=0.5,
        description="share of the training samples that no client gets, the same of every class (of every subject or "
        "client where these are given); evaluated beside the test set, and what 'until' looks at",
    )
    nearest_mean_samples: PositiveInt | None = Field(
        None,
        description="training samples, a fixed random subset, whose class means classify the test samples by each "
        "modality's features (metric nearest_mean_accuracy); unset: not computed",
    )
    target_accuracy: _Target | Annotated[tuple[_Target, ...], Field(min_length=1)] | None = Field(
        None,
        description="fused test accuracy, or a list of several, whose time is reported: the first of three evaluations "
        "in a row that have it; figures are drawn for the first of a list",
    )

    @property
    def targets(self) -> tuple[float, ...]:
        """The target accuracies, each once; figures are drawn for the first."""
        given = self.target_accuracy
        return tuple(dict.fromkeys(given)) if isinstance(given, tuple) else () if given is None else (given,)


_Values = Annotated[list[Any], Field(min_length=1)]


class TuneSpec(Section):
    """The ``tune`` block of a scenario: what ``interlude sweep --tune`` tries, for each method apart.

    Fields are those of a method's entry: ``training.local_epochs`` is that of its own training.
    """

    seeds: Annotated[tuple[NonNegativeInt, ...], Field(min_length=1)] = Field(
        (100, 101), description="seeds that settings are tried on, none of them a seed of the results"
    )
    grid: dict[str, _Values] = Field(
        {}, description="lists of values by field of training, every one with every one of the others; for all methods"
    )
    methods: dict[str, dict[str, _Values]] = Field(
        {}, description="by the label of a method, lists of its own options besides, or in place of the grid's"
    )
    per_point: bool = Field(
        False, description="tuned at every point of a sweep; else once, on the scenario without the sweep's values"
    )

    @model_validator(mode="after")
    def _tries_something(self) -> "TuneSpec":
        if not self.grid and not any(self.methods.values()):
            raise ValueError("needs a 'grid' that maps fields to lists of values, e.g. training.local_epochs: [1, 5]")
        return self

    def grid_of(self, label: str) -> dict[str, list[Any]]:
        """Return the lists of values that are tried for a method."""
        return {**self.grid, **self.methods.get(label, {})}


class LimitsSpec(Section):
    """The ``limits`` section of a scenario: the most that a run may need."""

    events: PositiveInt = Field(
        1_000_000_000, description="events of the clock and evaluations; the default takes hours without any training"
    )
    memory_gb: PositiveFloat = Field(
        64.0,
        description="memory for models and clients, and for the data set beside them, by count, before anything is "
        "allocated",
    )


class RecordSpec(Section):
    """The ``record`` section: how much of a run is written down. Totals and metrics always count all clients."""

    clients: NonNegativeInt | None = Field(
        None, description="clients 0 to N - 1 have their spans and merges in the timeline; 0: none; unset: all"
    )


class PaperSpec(Section):
    """The ``paper`` section: published results of the same experiment, which the report shows beside the runs'."""

    source: str = Field(description="paper, table and column")
    accuracy: dict[str, Annotated[float, Field(ge=0, le=1)]] = Field(
        description="published fused accuracy by the label of a method"
    )
