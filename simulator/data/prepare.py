"""Turns raw files into memory-mapped arrays, once, in parallel; finished samples are not read again.

A prepared data set is a directory of NumPy files: ``<split>_<modality>.npy`` [N, *shape] and, once it is complete,
``prepared.json``. Until then ``done.npy`` says which samples are written, so an interrupted preparation is resumed.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
import torch

from interlude.models.inputs import InputSpec, Samples
from interlude.simulator.data.dataset import Dataset
from interlude.simulator.data.directory import CACHE_VARIABLE
from interlude.simulator.data.npy import mapped, npy_header
from interlude.simulator.errors import BadInputError, InterludeError
from interlude.simulator.files import only_one

Split = Literal["train", "test"]
Arrays = dict[str, npt.NDArray[Any]]

_FORMAT = 1
_CHUNK_SAMPLES = 16


@dataclass(frozen=True)
class Item:
    """One sample of a data set that is still in raw files."""

    name: str
    split: Split
    label: int
    files: Mapping[str, tuple[str, ...]]
    """Paths of the files of each modality."""
    key: Mapping[str, int] = field(default_factory=dict)
    """What the sample naturally belongs to, e.g. ``speaker``."""
    span_s: tuple[int, int] | None = None
    """The seconds of its files that the sample is; None: all of them."""

    def missing(self) -> str | None:
        """Return the first missing file; None if all exist."""
        return next((path for paths in self.files.values() for path in paths if not Path(path).is_file()), None)


class Preparation(Protocol):
    """How the raw files of a data set become arrays. Instances are pickled for worker processes."""

    @property
    def inputs(self) -> Mapping[str, InputSpec]:
        """What one sample of each modality looks like, and how it is stored."""
        ...

    @property
    def num_classes(self) -> int:
        """How many classes there are."""
        ...

    @property
    def on_missing(self) -> Literal["drop", "refuse"]:
        """Whether samples that lack a modality's file are left out, and counted, or refused."""
        ...

    def version(self) -> str:
        """Return a text that identifies the arrays: options and the hashes of index files."""
        ...

    def items(self) -> list[Item]:
        """Return every sample, in a fixed order."""
        ...

    def read(self, item: Item) -> Arrays:
        """Return the sample's modalities; raises BadInputError naming the file if one is damaged."""
        ...


def prepare(
    preparation: Preparation,
    cache: Path,
    num_workers: int | None = None,
    watch: Callable[[int, int], None] | None = None,
) -> int:
    """Write the arrays of a data set; resumes where an earlier call was interrupted.

    Args:
        preparation: how raw files are read.
        cache: the directory of the arrays.
        num_workers: processes that read; None: one per core; 0: this process.
        watch: receives the number of samples done, and their total.

    Returns:
        How many samples were left out because a file was missing.

    Raises:
        BadInputError: if a file is damaged or, unless they are dropped, missing.
    """
    items, num_dropped = _present(preparation)
    listed = _digest(items, preparation.inputs)
    about = _about(preparation, cache)
    if about is not None and about.get("items") == listed and _is_whole(preparation, cache):
        if watch is not None:
            watch(len(items), len(items))
        return num_dropped
    hint = f"name a directory for prepared data in {CACHE_VARIABLE}"
    with only_one(cache, "is being prepared by another process", hint=hint):
        _write_all(preparation, cache, items, listed, num_dropped, num_workers, watch)
    return num_dropped


def _write_all(
    preparation: Preparation,
    cache: Path,
    items: Sequence[Item],
    listed: str,
    num_dropped: int,
    num_workers: int | None,
    watch: Callable[[int, int], None] | None,
) -> None:
    """Write the arrays and, when they are complete, their description."""
    (cache / "prepared.json").unlink(missing_ok=True)
    rows = _rows(items)
    done = _begin(preparation, cache, items, f"{preparation.version()} {listed}")
    todo = [index for index in range(len(items)) if not done[index]]
    if watch is not None:
        watch(len(items) - len(todo), len(items))
    chunks = [todo[i : i + _CHUNK_SAMPLES] for i in range(0, len(todo), _CHUNK_SAMPLES)]
    work = [(preparation, cache, [(items[i], rows[i]) for i in chunk]) for chunk in chunks]
    num_done = len(items) - len(todo)
    for position in _carried_out(work, num_workers):
        done[chunks[position]] = True
        done.flush()
        num_done += len(chunks[position])
        if watch is not None:
            watch(num_done, len(items))
    about = {
        "format": _FORMAT,
        "version": preparation.version(),
        "items": listed,
        "num_dropped": num_dropped,
        "samples": [{"name": i.name, "split": i.split, "label": i.label, "key": dict(i.key)} for i in items],
    }
    temporary = cache / ".prepared.json"
    temporary.write_text(json.dumps(about), encoding="utf-8")
    temporary.rename(cache / "prepared.json")
    (cache / "done.npy").unlink(missing_ok=True)


def open_prepared(preparation: Preparation, cache: Path, dataset: str, options: Mapping[str, Any] = {}) -> Dataset:
    """Return a prepared data set; its tensors are mapped from files.

    Args:
        preparation: how it was prepared.
        cache: the directory of the arrays.
        dataset: its name.
        options: options of its preparation, for the message that gives the command.

    Raises:
        BadInputError: if it is not prepared, or prepared by other options or from other files.
    """
    about = _about(preparation, cache)
    if about is None:
        command = " ".join(["interlude data prepare", dataset, *(f"--set {k}={v}" for k, v in options.items())])
        raise BadInputError(f"{cache}: holds no '{dataset}' prepared as asked; run: {command}")
    if about["num_dropped"] and preparation.on_missing == "refuse":
        raise BadInputError(
            f"{cache}: was prepared without {about['num_dropped']} samples that lacked a file; set data.on_missing to "
            "'drop' to use it as it is"
        )
    splits: dict[Split, Samples] = {}
    for split in ("train", "test"):
        labels = [sample["label"] for sample in about["samples"] if sample["split"] == split]
        inputs = {m: _mapped(cache, split, m, spec, len(labels)) for m, spec in preparation.inputs.items()}
        splits[split] = (inputs, torch.tensor(labels, dtype=torch.long))
    train = [sample for sample in about["samples"] if sample["split"] == "train"]
    keys = dict.fromkeys(key for sample in train for key in sample["key"])
    return Dataset(
        train=splits["train"],
        test=splits["test"],
        num_classes=preparation.num_classes,
        stored=dict(preparation.inputs),
        keys={key: np.array([sample["key"][key] for sample in train]) for key in keys},
        names=tuple(sample["name"] for sample in train),
        files=(cache / "prepared.json",),
        num_dropped=about["num_dropped"],
    )


def _about(preparation: Preparation, cache: Path) -> dict[str, Any] | None:
    """Return the description of the arrays; None if they are incomplete or of another version."""
    try:
        about = json.loads((cache / "prepared.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    is_it = isinstance(about, dict) and about.get("format") == _FORMAT and about.get("version") == preparation.version()
    return about if is_it else None


def _can_resume(preparation: Preparation, cache: Path, num_items: int, version: str) -> bool:
    """Return whether an interrupted preparation of the same version left all of its files whole."""
    try:
        is_same = (cache / "version.txt").read_bytes() == version.encode()
        return is_same and npy_header(cache / "done.npy").shape == (num_items,) and _is_whole(preparation, cache)
    except (OSError, BadInputError):
        return False


def _is_whole(preparation: Preparation, cache: Path) -> bool:
    """Return whether the arrays have the size that they say."""
    try:
        for split in ("train", "test"):
            for modality in preparation.inputs:
                npy_header(cache / f"{split}_{modality}.npy")
    except BadInputError:
        return False
    return True


def _digest(items: Sequence[Item], inputs: Mapping[str, InputSpec]) -> str:
    """Return a hash of the rows' samples, their files and their storage."""
    said = [(i.name, i.split, i.label, {m: list(f) for m, f in i.files.items()}, dict(i.key), i.span_s) for i in items]
    return hashlib.sha256(json.dumps([said, repr(dict(inputs))], sort_keys=True).encode()).hexdigest()


def _present(preparation: Preparation) -> tuple[list[Item], int]:
    """Return the samples whose files exist, and the number left out."""
    items = preparation.items()
    missing = [item.missing() for item in items]
    present = [item for item, path in zip(items, missing, strict=True) if path is None]
    num_lacking = len(items) - len(present)
    empty = next((split for split in ("train", "test") if all(item.split != split for item in present)), None)
    if num_lacking and (preparation.on_missing == "refuse" or empty is not None):
        item, path = next((item, path) for item, path in zip(items, missing, strict=True) if path is not None)
        raise BadInputError(
            f"{path}: is missing, which sample '{item.name}' needs ({num_lacking} of {len(items)} samples lack a file)"
            + (
                f"; no sample is left for the {empty} set"
                if empty
                else "; set data.on_missing to 'drop' to leave such samples out"
            )
        )
    if empty is not None:
        raise BadInputError(f"the {empty} set has no sample: the files that list them name none")
    return present, num_lacking


def _rows(items: Sequence[Item]) -> list[int]:
    """Return each sample's row in the arrays of its split."""
    used: dict[str, int] = {}
    rows = []
    for item in items:
        rows.append(used.get(item.split, 0))
        used[item.split] = rows[-1] + 1
    return rows


def _begin(
    preparation: Preparation, cache: Path, items: Sequence[Item], version: str
) -> "np.memmap[Any, np.dtype[np.bool_]]":
    """Return which samples are written, mapped from its file; arrays of another version are made anew."""
    mark, said = cache / "done.npy", cache / "version.txt"
    if not _can_resume(preparation, cache, len(items), version):
        mark.unlink(missing_ok=True)
        for split in ("train", "test"):
            num_samples = sum(item.split == split for item in items)
            for modality, spec in preparation.inputs.items():
                dtype = torch.empty(0, dtype=spec.dtype).numpy().dtype
                path = cache / f"{split}_{modality}.npy"
                path.unlink(missing_ok=True)  # processes that map the old file keep it
                np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=(num_samples, *spec.shape)).flush()
        said.write_text(version, encoding="utf-8")
        np.lib.format.open_memmap(mark, mode="w+", dtype=np.bool_, shape=(len(items),)).flush()
    found: np.memmap[Any, np.dtype[np.bool_]] = np.load(mark, mmap_mode="r+")
    return found


def _carried_out(work: Sequence[tuple[Preparation, Path, list[tuple[Item, int]]]], num: int | None) -> Iterator[int]:
    """Yield the positions of chunks of samples as they are done."""
    if num == 0 or len(work) <= 1:
        for position, piece in enumerate(work):
            _write(*piece)
            yield position
        return
    with ProcessPoolExecutor(num or os.cpu_count(), mp_context=get_context("spawn")) as pool:
        pending = {pool.submit(_write, *piece): position for position, piece in enumerate(work)}
        try:
            for future in as_completed(pending):
                future.result()
                yield pending[future]
        except BrokenProcessPool as error:
            raise InterludeError(
                "a process that reads files was killed, perhaps for lack of memory; run it again with fewer "
                "workers: finished samples are kept"
            ) from error
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _write(preparation: Preparation, cache: Path, samples: Sequence[tuple[Item, int]]) -> None:
    """Read some samples and write them into their rows."""
    opened: dict[str, npt.NDArray[Any]] = {}
    for item, row in samples:
        for modality, value in preparation.read(item).items():
            spec = preparation.inputs[modality]
            if value.shape != spec.shape:
                raise BadInputError(
                    f"{item.files[modality][0]}: '{modality}' has shape {value.shape}, expected {spec.shape}"
                )
            if value.dtype.kind == "f" and not np.isfinite(value).all():
                raise BadInputError(f"{item.files[modality][0]}: holds values that are not finite")
            name = f"{item.split}_{modality}"
            if name not in opened:
                opened[name] = np.load(cache / f"{name}.npy", mmap_mode="r+")
            opened[name][row] = value
    for array in opened.values():
        array.flush()  # type: ignore[attr-defined] # a memmap: `np.load` does not say so


def _mapped(cache: Path, split: Split, modality: str, spec: InputSpec, num_samples: int) -> torch.Tensor:
    """Return the samples of a modality, mapped from their file."""
    path = cache / f"{split}_{modality}.npy"
    try:
        x = mapped(path)
    except BadInputError as error:
        raise BadInputError(f"{path}: is missing or damaged; prepare the data set again") from error
    if x.shape != (num_samples, *spec.shape) or x.dtype != spec.dtype:
        raise BadInputError(
            f"{path}: holds {x.dtype} of shape {tuple(x.shape)}, expected {spec.dtype} of shape "
            f"{(num_samples, *spec.shape)}; prepare the data set again"
        )
    return x
