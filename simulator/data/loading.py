"""Loads the data set that a scenario names."""

from functools import lru_cache
from pathlib import Path

from interlude.simulator.data import find_source
from interlude.simulator.data.dataset import Dataset
from interlude.simulator.data.spec import DataSpec
from interlude.simulator.files import data_directory


def load_dataset(spec: DataSpec) -> Dataset:
    """Return the data set that a scenario names; loading is pure, so the methods of a scenario share one copy.

    Raises:
        BadInputError: if a file is missing or damaged; it names the path and what was expected.
    """
    dataset, states = _load(spec, data_directory())
    if states != _states(dataset):  # a file has changed since
        _load.cache_clear()
        dataset, _ = _load(spec, data_directory())
    return dataset


@lru_cache(maxsize=2)
def _load(spec: DataSpec, _directory: Path | None) -> tuple[Dataset, tuple[tuple[int, int], ...]]:
    source = find_source(spec.dataset)
    assert source is not None, spec.dataset
    dataset = source.load(spec)
    return dataset, _states(dataset)


def _states(dataset: Dataset) -> tuple[tuple[int, int], ...]:
    """Return size and modification time of every file that identifies the data set; zeros for one that is gone."""
    found = [path.stat() if path.exists() else None for path in dataset.files]
    return tuple((0, 0) if state is None else (state.st_size, state.st_mtime_ns) for state in found)
