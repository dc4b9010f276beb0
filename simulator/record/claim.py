"""Whether a run may write to a directory: what it holds already, and whether to reuse, resume or replace that."""

import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from interlude.simulator.errors import BadInputError, RecordError
from interlude.simulator.record.atomic import write_json
from interlude.simulator.record.checkpoint import Checkpoints
from interlude.simulator.record.provenance import package_versions
from interlude.simulator.record.reader import RunRecord

CHECKPOINTS = "checkpoint"
"""The folder of checkpoints in a run directory."""

_HARMLESS = {"code": "the simulator's code has changed"}
"""Differences that `--force` accepts when a run is resumed."""
_MOST_NAMED = 3


def make_room(path: Path) -> None:
    """Remove an earlier run, its run.json last: a directory without one cannot be recognised as a run.

    Raises:
        BadInputError: if the directory holds other files.
    """
    if not path.exists() or not any(path.iterdir()):
        return
    info = path / "run.json"
    if info.exists():
        with suppress(BadInputError, RecordError):  # it is removed in any case
            end(path, "interrupted")  # from now on the directory holds no complete run
    elif not is_only_begun(path):
        raise BadInputError(f"{path}: holds files that are not a run's, so it is not overwritten")
    # Without its checkpoints a run begins again; with them, but without the rest, it could not be resumed.
    for entry in sorted(path.iterdir(), key=lambda entry: entry.name != CHECKPOINTS):
        if entry != info:
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    info.unlink(missing_ok=True)


def end(path: Path, status: str, error: str | None = None) -> None:
    """Record how a run ended whose process no longer writes.

    Raises:
        BadInputError: if it is not a run directory.
        RecordError: if it cannot be written.
    """
    info = {**RunRecord(path).info, "status": status, **({"error": error} if error else {})}
    write_json(path / "run.json", info)


def is_only_begun(path: Path) -> bool:
    """Whether a directory holds only files that a run writes before its run.json."""
    entries = {entry.name for entry in path.iterdir()} if path.is_dir() else {"a file"}
    return entries <= {"timeline", ".run.json"} and not any((path / "timeline").glob("*"))


def claim(path: Path, identity: Mapping[str, Any], resume: bool = False, force: bool = False) -> RunRecord | None:
    """Return the run at `path` if it is the run that `identity` describes, or None if there is none.

    Args:
        path: the directory.
        identity: identifies the run.
        resume: whether an unfinished run is accepted, too.
        force: whether it may have been begun by other code or with other packages.

    Raises:
        BadInputError: if the directory holds another run or other files.
    """
    if not path.exists() or not any(path.iterdir()) or is_only_begun(path):
        return None
    if not (path / "run.json").exists():
        raise BadInputError(f"{path}: already holds files that are not a run's; pass --runs DIR to write elsewhere")
    record = RunRecord(path)
    status, differences = record.info["status"], _differences(record.info, {**identity, "packages": package_versions()})
    if record.is_complete:
        if not differences:
            Checkpoints(path / CHECKPOINTS).tidy_up()  # again, where the run was killed while it did
            return record
        what = f"a run (complete) of another scenario, version or device: {_listed(differences)}"
        instead = "pass --overwrite to replace a run, or --runs DIR to write elsewhere"
    elif not resume:
        what, instead = f"an unfinished run ({status})", "pass --resume to resume it, or --overwrite to replace it"
    elif not differences or (force and differences.keys() <= {"code", "packages"}):
        return record
    else:
        what = f"an unfinished run ({status}) that cannot be resumed as it is: {_listed(differences)}"
        is_harmless = differences.keys() <= {"code", "packages"}
        also = "pass --force to resume all the same, or " if is_harmless else "pass "
        instead = f"{also}--overwrite to replace it, or --runs DIR to write elsewhere"
    raise BadInputError(f"{path}: already holds {what}; {instead}")


def _differences(info: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, str]:
    """Return the differences between a run and the wanted one: the field, and a clause about it."""
    differences: dict[str, str] = {}
    for key, now in wanted.items():
        before = info.get(key)
        if before == now or (key == "digest" and info.get("scenario") != wanted["scenario"]):
            continue
        if isinstance(before, dict) and isinstance(now, dict):
            differences[key] = _listed(_changes(before, now))
        else:
            differences[key] = _HARMLESS.get(key, f"{key} was {before}, and now is {now}")
    return differences


def _changes(before: Any, now: Any, where: str = "") -> dict[str, str]:
    """Return the fields in which two nested mappings differ, and a clause about each."""
    if isinstance(before, dict) and isinstance(now, dict):
        pairs = {key: (before.get(key), now.get(key)) for key in [*before, *(key for key in now if key not in before)]}
    elif isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        pairs = dict(enumerate(zip(before, now, strict=True)))
    else:
        return {} if before == now else {where: f"{where} was {before}, and now is {now}"}
    found: dict[str, str] = {}
    for key, (old, new) in pairs.items():
        found |= _changes(old, new, f"{where}.{key}" if where else str(key))
    return found


def _listed(clauses: Mapping[str, str]) -> str:
    named = list(clauses.values())
    more = f"; and {len(named) - _MOST_NAMED} more" if len(named) > _MOST_NAMED else ""
    return "; ".join(named[:_MOST_NAMED]) + more
