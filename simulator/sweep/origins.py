"""Where the scenarios of a sweep come from: their places in it, and the full names of its fields."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from interlude.simulator.scenario.scenario import Scenario


def placed(scenarios: Sequence[Scenario], name: str) -> Iterator[Scenario]:
    """Yield the scenarios of a sweep, each knowing its point's place in it."""
    places = {point: place for place, point in enumerate(dict.fromkeys(scenario.name for scenario in scenarios))}
    for scenario in scenarios:
        yield scenario.with_origin(replace(scenario.origin, scenario=name, place=places[scenario.name]))


def by_label(field: str, labels: Sequence[str]) -> str:
    """Return a field with a method's label in place of its position: ``methods.3.beta`` -> ``methods.mba.beta``."""
    head, *rest = field.split(".")
    if head != "methods" or not rest or not rest[0].isdecimal():
        return field
    return ".".join([head, labels[int(rest[0])], *rest[1:]])
