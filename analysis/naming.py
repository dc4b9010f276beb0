"""Which methods tables and figures show, under which labels and in which colours: views of records."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from matplotlib.colors import is_color_like
from matplotlib.mathtext import MathTextParser

from interlude.analysis.choices import Choices
from interlude.simulator.errors import BadInputError, nearest, shown
from interlude.simulator.record.reader import RunRecord


def listed(given: str | None) -> list[str]:
    """Return the parts of a list that is separated by commas; empty for None."""
    return [part.strip() for part in (given or "").split(",") if part.strip()]


def pairs(option: str, given: Sequence[str]) -> dict[str, str]:
    """Return the values of an option that is given as ``KEY=VALUE``, several times.

    Raises:
        BadInputError: naming the option.
    """
    found: dict[str, str] = {}
    for text in given:
        key, sign, value = text.partition("=")
        if not sign or not key.strip() or not value.strip():
            raise BadInputError(f"{option}: must be NAME=TEXT, e.g. {option} mba=MBA; given {shown(text)}")
        found[key.strip()] = value.strip()
    return found


def names_of(records: Sequence[RunRecord]) -> list[str]:
    """Return the labels of the records, in their order."""
    return list(dict.fromkeys(record.label for record in records))


def methods_chosen(option: str, methods: Sequence[str], records: Sequence[RunRecord]) -> list[str]:
    """Return the labels that some methods name, by their labels or by the names of their methods, in the order given.

    Raises:
        BadInputError: if no run is of one of them; names the option.
    """
    chosen: dict[str, None] = {}
    for name in methods:
        labels = [r.label for r in records if r.label == name]
        labels = labels or [r.label for r in records if r.scenario["methods"][0]["name"] == name]
        if not labels:
            raise BadInputError(_unknown(option, name, names_of(records)))
        chosen |= dict.fromkeys(labels)
    return list(chosen) if methods else names_of(records)


def check_known(option: str, given: Mapping[str, object], known: Sequence[str]) -> None:
    """Check that names are labels of runs.

    Raises:
        BadInputError: naming the option.
    """
    for name in given:
        if name not in known:
            raise BadInputError(_unknown(option, name, known))


def check_distinct(methods: Sequence[str], labels: Mapping[str, str]) -> None:
    """Check that methods have labels of their own once some are renamed.

    Raises:
        BadInputError: if two have the same.
    """
    own = [labels.get(label, label) for label in methods]
    for place, label in enumerate(own):
        if label in own[:place]:
            raise BadInputError(f"--labels: two methods are called {shown(label)}; each needs a label of its own")


def shown_as(
    records: Sequence[RunRecord], labels: Mapping[str, str], colours: Mapping[str, str] | None = None
) -> list[RunRecord]:
    """Return views of records that have other labels and, for figures, colours; their order and statistics stay.

    Args:
        records: the runs.
        labels: new labels by label.
        colours: of matplotlib, by label as it was.

    Raises:
        BadInputError: if two methods would have one label.
    """
    check_distinct(names_of(records), labels)
    return [_view(record, labels, colours or {}) for record in records]


@dataclass(frozen=True)
class Naming:
    """Which methods a figure shows, and how."""

    methods: Sequence[str] = ()
    """Labels, or names of methods; empty: all."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """What to call methods, by label; ``$...$`` is mathematics."""
    colours: Mapping[str, str] = field(default_factory=dict)
    """Colours of matplotlib by label."""

    def applied(self, records: Sequence[RunRecord], choices: Choices) -> tuple[list[RunRecord], Choices]:
        """Return views of the methods' records, and the options with the baseline by its new label.

        Raises:
            BadInputError: for a method that no run is of, mathematics or a colour that is none; names the option.
        """
        chosen = methods_chosen("--methods", self.methods, records)
        records = [record for record in records if record.label in chosen]
        check_known("--labels", self.labels, chosen)
        check_known("--colors", self.colours, chosen)
        for label in self.labels.values():
            _check_mathematics(label)
        for colour in self.colours.values():
            if not is_color_like(colour):
                raise BadInputError(
                    f"--colors: no colour is {shown(colour)}; colours are e.g. #D55E00, tab:blue, black"
                )
        baseline = choices.baseline or ("fedavg" if "fedavg" in chosen else None)
        if baseline is not None:
            check_known("--baseline", {baseline: None}, chosen)
            choices = replace(choices, baseline=self.labels.get(baseline, baseline))
        return shown_as(records, self.labels, self.colours), choices


def _check_mathematics(label: str) -> None:
    try:
        MathTextParser("path").parse(label)
    except ValueError as error:
        why = str(error).strip().splitlines()[-1]
        raise BadInputError(f"--labels: {shown(label)} is no mathematics of matplotlib: {why}") from error


def _view(record: RunRecord, labels: Mapping[str, str], colours: Mapping[str, str]) -> RunRecord:
    if record.label not in labels and record.label not in colours:
        return record
    view = copy.copy(record)
    view.info = {
        **record.info,
        "label": labels.get(record.label, record.label),
        "method": record.info.get("method", record.label),
        **({"colour": colours[record.label]} if record.label in colours else {}),
    }
    return view


def _unknown(option: str, name: str, known: Sequence[str]) -> str:
    return f"{option}: no run has the label {shown(name)}; labels are {', '.join(known)}{nearest(name, known)}"
