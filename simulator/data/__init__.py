"""Data sets of named modalities, and how clients share them.

To add a data set: write its file with a spec (options), a loader and a `SOURCE`, and name that here.
"""

from functools import lru_cache
from pathlib import Path

from interlude.simulator.data import ave, cg_digits, cg_mnist, crema_d, crisismmd, folder, function, modelnet40, uci_har
from interlude.simulator.data.dataset import Dataset
from interlude.simulator.data.source import Source
from interlude.simulator.data.spec import DataSpec
from interlude.simulator.files import data_directory

DATASETS: dict[str, Source] = {
    "cg-digits": cg_digits.SOURCE,
    "cg-mnist": cg_mnist.SOURCE,
    "uci-har": uci_har.SOURCE,
    "crema-d": crema_d.SOURCE,
    "ave": ave.SOURCE,
    "crisismmd": crisismmd.SOURCE,
    "modelnet40": modelnet40.SOURCE,
}
OWN: dict[str, Source] = {"folder": folder.SOURCE, "package.module:function": function.SOURCE}
"""The entry points for a user's own data; the second one's name is a pattern."""


def find_source(name: str) -> Source | None:
    """Return the data set of a name, or one of a user's own; None if there is none."""
    return DATASETS.get(name) or OWN.get("package.module:function" if ":" in name else name)


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
