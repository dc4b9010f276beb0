"""Records as entries of trackers, and what a run came to."""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from interlude.analysis.fields import leaves
from interlude.analysis.summary import summarise_runs
from interlude.analysis.trackers.interface import FIGURES, Entry, Value
from interlude.simulator.files import without_folders
from interlude.simulator.record.reader import RunRecord

_IDENTITY = ("digest", "label", "seed", "device", "timing_only", "code", "files", "packages")
_NOT_CONFIG = ("name", "seed", "methods", "paper")


def entry_of(record: RunRecord) -> Entry:
    """Return a run as trackers know it."""
    info, scenario = record.info, record.scenario
    identity = {name: info.get(name) for name in _IDENTITY}
    if identity["digest"] is None:
        identity["digest"] = without_folders(scenario)
    fields = {name: value for name, value in without_folders(scenario).items() if name not in _NOT_CONFIG}
    settings = {name: info.get(name) for name in ("device", "timing_only", "code", "packages")}
    return Entry(
        key=_key(identity),
        name=f"{record.label}-s{record.seed}",
        group=str(scenario["name"]),
        tags={"method": record.label, "seed": str(record.seed)},
        config={
            "scenario": str(scenario["name"]),
            "seed": record.seed,
            **_plain({"method": scenario["methods"][0], **fields, **settings}),
        },
    )


def figures_of(group: str) -> Entry:
    """Return the entry of a scenario's figures."""
    return Entry(_key([FIGURES, group]), FIGURES, group, {}, {"scenario": group})


def stamp_of(records: Sequence[RunRecord]) -> str:
    """Return what is equal for figures of equal runs only."""
    return _key(sorted((entry_of(record).key, str(record.info["status"])) for record in records))


def renamed(entry: Entry, taken: Mapping[str, str]) -> Entry:
    """Return an entry whose name no other one of its group has.

    Args:
        entry: the entry.
        taken: keys by ``group/name``.
    """
    number, name = 1, entry.name
    while taken.get(f"{entry.group}/{name}", entry.key) != entry.key:
        number += 1
        name = f"{entry.name}-{number}"
    return replace(entry, name=name)


def results_of(record: RunRecord) -> dict[str, float]:
    """Return what a run with a result came to, by column of `summarise_runs`; what is not finite is left out."""
    (row,) = summarise_runs([record]).drop(columns=["method", "seed"]).to_dict("records")
    numbers = {str(name): pd.to_numeric(value, errors="coerce") for name, value in row.items()}
    return {name: float(value) for name, value in numbers.items() if math.isfinite(value)}


def _plain(node: Mapping[str, Any]) -> dict[str, Value]:
    return {path: value if isinstance(value, Value) else str(value) for path, value in leaves(node).items()}


def _key(identity: object) -> str:
    return hashlib.sha256(json.dumps(identity, sort_keys=True, default=str).encode()).hexdigest()[:16]
