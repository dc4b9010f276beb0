"""What is learned from: data sets of named modalities, and how clients share them.

To add a data set: write its file with a spec (options) and a loader, and name both here.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

from simulator.data import cg_digits
from simulator.data.dataset import Dataset
from simulator.data.spec import DataSpec


class Source(NamedTuple):
    """A data set that a scenario can name."""

    options: type[DataSpec]
    load: Callable[[Any], Dataset]
    about: str


DATASETS: dict[str, Source] = {
    "cg-digits": Source(
        cg_digits.CgDigitsSpec,
        cg_digits.load,
        "1,797 real handwritten digits (inside scikit-learn), gray + color; colour misleads in the test",
    ),
}


@lru_cache(maxsize=2)
def load_dataset(spec: DataSpec) -> Dataset:
    """Return the data set that a scenario names; loading is pure, so the methods of a scenario share one copy."""
    return DATASETS[spec.dataset].load(spec)
