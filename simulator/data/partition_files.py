"""Partitions in the layout of the papers' code: ``client-<N>-alpha-<alpha>/client-<k>.csv`` or ``.txt``, k from 0 or 1.

A line names one sample, by its index in the training set or by its name, which the sample's class may follow after a
tab, a space or a slash (CREMA-D: one quoted field ``1001_DFA_ANG_XX ANG``; AVE: ``id/Category``; ModelNet40: a line of
train.txt; CG-MNIST and CrisisMMD: an index). Empty lines are skipped.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from interlude.simulator.arrays import Indices
from interlude.simulator.errors import BadInputError, shown
from interlude.simulator.formats.csv_files import text_lines, whole_number

_SUFFIXES = (".csv", ".txt")
_BEFORE_CLASS = ("\t", " ", "/")


def client_files(folder: Path, alpha: float, num_clients: int) -> list[Path]:
    """Return each client's file.

    Raises:
        BadInputError: naming the first folder or file that is missing.
    """
    written = f"{int(alpha)}" if alpha.is_integer() else f"{alpha:g}"
    inner = folder / f"client-{num_clients}-alpha-{written}"
    if not inner.is_dir():
        raise BadInputError(f"{inner}: is missing; a partition by files lies in client-<count>-alpha-<alpha> folders")
    first = 0 if _file(inner, 0) is not None else 1
    files = [_file(inner, client) for client in range(first, first + num_clients)]
    for position, file in enumerate(files):
        if file is None:
            name = f"client-{first + position}"
            raise BadInputError(f"{inner / name}.csv: is missing, and so is {name}.txt; each client needs one of them")
    return [file for file in files if file is not None]


def read_partition(
    folder: Path, alpha: float, num_clients: int, num_samples: int, names: Sequence[str] | None, partial: bool
) -> list[Indices]:
    """Return each client's sample indices, sorted.

    Args:
        folder: the ``AllocatedSubset`` folder.
        alpha: which of its folders.
        num_clients: which of its folders, and the number of files in it.
        num_samples: of the training set.
        names: [N] of the training samples, if any; a name that several samples have stands for each of them in turn.
        partial: whether entries may name unknown samples, and samples may be left out.

    Raises:
        BadInputError: naming file and line of an entry that is unknown or given twice, or a file without entries.
    """
    known: dict[str, deque[int]] = {}
    for sample, name in enumerate(names or ()):
        known.setdefault(name, deque()).append(sample)
    holder: dict[int, str] = {}
    shards = []
    for file in client_files(folder, alpha, num_clients):
        shard: list[int] = []
        for where, entry in _entries(file):
            index = _index(entry, known, num_samples)
            if index is None and not partial:
                by = "its index" if names is None else "its name or index"
                raise BadInputError(
                    f"{where}: {shown(entry)} is not a sample of the training set, which has {num_samples}; a line "
                    f"gives {by}"
                )
            if index is None:
                continue
            if index in holder:
                raise BadInputError(f"{where}: {shown(entry)} is given twice; it stands at {holder[index]}, too")
            holder[index] = where
            shard.append(index)
        if not shard:
            raise BadInputError(f"{file}: gives its client no sample of the training set")
        shards.append(np.sort(np.array(shard, dtype=np.int64)))
    if len(holder) < num_samples and not partial:
        first = next(index for index in range(num_samples) if index not in holder)
        which = shown(names[first]) if names is not None else f"{first}"
        raise BadInputError(
            f"{folder}: {num_samples - len(holder)} of {num_samples} training samples, first {which}, are no client's; "
            "set data.partition.partial to true to leave them out"
        )
    return shards


def _file(folder: Path, client: int) -> Path | None:
    return next((path for suffix in _SUFFIXES if (path := folder / f"client-{client}{suffix}").is_file()), None)


def _entries(file: Path) -> Iterator[tuple[str, str]]:
    """Yield the location of an entry, and the entry."""
    for number, line in enumerate(text_lines(file), start=1):
        if entry := line.strip().strip('"').strip():
            yield f"{file}, line {number}", entry


def _index(entry: str, known: dict[str, deque[int]], num_samples: int) -> int | None:
    """Return the sample that an entry stands for; None if there is none."""
    for name in (entry, *(entry.rpartition(mark)[0] for mark in _BEFORE_CLASS)):
        if name in known:
            known[name].rotate(-1)
            return known[name][-1]
    index = whole_number(entry)
    return index if index is not None and index < num_samples else None
