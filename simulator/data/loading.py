"""Loads the data set that a scenario names."""

from functools import lru_cache
from pathlib import Path

from interlude.simulator.data import find_source
from interlude.simulator.data.dataset import Dataset
from interlude.simulator.data.spec import DataSpec
from interlude.simulator.errors import CannotRunError
from interlude.simulator.files import data_directory, host_memory_bytes


def load_dataset(spec: DataSpec, seed: int) -> Dataset:
    """Return the data set that a scenario names, as the runs of one seed see it.

    Loading is pure, so that all methods share one copy. Data sets that draw nothing are one copy for all seeds.

    Args:
        spec: the data set; its partition changes nothing here.
        seed: the run's seed, which what is drawn about the data follows unless `spec` pins it.

    Raises:
        BadInputError: if a file is missing or damaged; it names the path and what was expected.
    """
    content = spec.content(seed)
    dataset, states = _load(content, data_directory())
    if states != _states(dataset):  # a file has changed since
        _load.cache_clear()
        dataset, _ = _load(content, data_directory())
    return dataset


def check_memory(spec: DataSpec, memory_bytes: float) -> None:
    """Refuse a data set whose files say that they become too large, before any is read or inflated.

    Args:
        spec: the data set.
        memory_bytes: the most that it may take; it may never take more than this machine has.

    Raises:
        CannotRunError: with the numbers.
        BadInputError: if a header is damaged.
    """
    source = find_source(spec.dataset)
    needed = source.loaded_bytes(spec) if source is not None and source.loaded_bytes is not None else 0
    if needed > min(memory_bytes, host_memory_bytes()):
        raise CannotRunError(
            f"limits.memory_gb: data set '{spec.dataset}' takes about {needed / 1e9:.3g} GB in memory, but at most "
            f"{memory_bytes / 1e9:.3g} GB are allowed and this machine has {host_memory_bytes() / 1e9:.3g} GB; store "
            "large arrays as train_<name>.npy of float32, uint8 or int32, which are mapped from their files"
        )


@lru_cache(maxsize=2)  # of cg-mnist 0.2 GB each, in every process of a sweep
def _load(spec: DataSpec, _directory: Path | None) -> tuple[Dataset, tuple[tuple[int, int], ...]]:
    source = find_source(spec.dataset)
    assert source is not None, spec.dataset
    dataset = source.load(spec)
    return dataset, _states(dataset)


def _states(dataset: Dataset) -> tuple[tuple[int, int], ...]:
    """Return size and modification time of every file that identifies the data set; zeros for one that is gone."""
    found = [path.stat() if path.exists() else None for path in dataset.files]
    return tuple((0, 0) if state is None else (state.st_size, state.st_mtime_ns) for state in found)
