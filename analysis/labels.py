"""Labels of any length, made to fit."""

from collections.abc import Sequence
from itertools import chain, count

LONGEST = 40
"""Letters of a label in a figure."""


def shortened(labels: Sequence[str], longest: int = LONGEST) -> list[str]:
    """Return labels of at most so many letters, their middles left out; equal ones only where labels are equal.

    Labels with mathematics, ``$...$``, stay whole.
    """
    kept: dict[str, str] = {}
    for label in labels:
        if label not in kept:
            endings = chain([""], (f" ({number})" for number in count(2)))
            texts = (_without_middle(label, longest - len(ending)) + ending for ending in endings)
            kept[label] = next(text for text in texts if text not in kept.values())
    return [kept[label] for label in labels]


def _without_middle(label: str, longest: int) -> str:
    if len(label) <= longest or "$" in label:
        return label
    tail = longest // 2
    return f"{label[: longest - tail - 1]}…{label[-tail:]}"
