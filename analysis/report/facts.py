"""What a page says of a scenario: clients, data, model, world, training, methods, seeds and the end, in words."""

from collections.abc import Mapping, Sequence
from typing import Any

from interlude.analysis.choices import labels_of
from interlude.analysis.fields import shown
from interlude.analysis.report.tuned import how_tuned, own_training
from interlude.analysis.report.words import in_words
from interlude.simulator.record.reader import RunRecord

Facts = Sequence[tuple[str, str]]
"""Terms with their texts."""


def facts_of(records: Sequence[RunRecord]) -> Facts:
    """Return the facts of one scenario's runs."""
    scenario = records[0].scenario
    facts = [
        ("swept", ", ".join(f"{field} {shown(value)}" for field, value in records[0].origin["swept"].items())),
        ("clients", _clients(scenario["clients"])),
        ("data", in_words(scenario["data"])),
        ("model", in_words(scenario["model"])),
        *(
            (f"world: {part.replace('_', ' ')}", in_words({"value": section}, has_zeros=False))
            for part, section in scenario["world"].items()
        ),
        ("training", in_words(scenario["training"], has_zeros=False)),
        ("methods' own training", own_training(records)),
        ("tuned", how_tuned(records)),
        ("methods", ", ".join(labels_of(records))),
        ("seeds", ", ".join(map(str, sorted({record.seed for record in records})))),
        ("until", _until(scenario["until"])),
        ("evaluation", in_words(scenario["evaluate"], has_zeros=False)),
    ]
    if any(record.info.get("timing_only") for record in records):
        facts.append(("timing only", "the clock runs without training, so there are no accuracies"))
    return [(term, text) for term, text in facts if text]


def shared(facts: Sequence[Facts]) -> Facts:
    """Return the facts that are the same in all of several."""
    return [fact for fact in facts[0] if all(fact in others for others in facts[1:])]


def without(facts: Facts, said: Facts) -> Facts:
    """Return the facts that are not said elsewhere."""
    return [fact for fact in facts if fact not in said]


def _clients(section: Mapping[str, Any]) -> str:
    rest = in_words({key: value for key, value in section.items() if key != "count"})
    return ", ".join(filter(None, [str(section["count"]), rest]))


def _until(section: Mapping[str, Any]) -> str:
    """Return the ends of a run in words."""
    of_modality = f" of {section['modality']}" if section.get("modality") else ""
    words = {
        "simulated_s": "{:g} simulated s",
        "versions": "{} versions",
        "accuracy": f"an accuracy{of_modality} of {{:g}}",
        "patience_s": f"{{:g}} s without a better accuracy{of_modality}",
    }
    return " or ".join(said.format(section[key]) for key, said in words.items() if section.get(key) is not None)
