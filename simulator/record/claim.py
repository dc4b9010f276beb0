"""Whether a run may write to a directory: what it holds already, and whether to reuse, resume or replace that."""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from interlude.simulator.errors import BadInputError, RecordError
from interlude.simulator.files import without_folders
from interlude.simulator.record.atomic import write_json
from interlude.simulator.record.checkpoint import Checkpoints
from interlude.simulator.record.contents import sealed
from interlude.simulator.record.lock import is_lock_file
from interlude.simulator.record.provenance import package_versions
from interlude.simulator.record.reader import DamagedRecordError, OtherSchemaError, RunRecord

CHECKPOINTS = "checkpoint"
"""The folder of checkpoints in a run directory."""

_FILES = re.compile(r"\.?(run\.json|metrics\.csv|partition\.csv|model\.safetensors|traceback\.txt)|\.model")
_IN_FOLDERS = {
    "timeline": re.compile(r"\.?part-\d+\.parquet"),
    CHECKPOINTS: re.compile(r"\d+-[0-9a-f]+\.safetensors|\.new"),
}
"""The names of the files that a run writes; all others in its directory are the user's."""

_HARMLESS = {"code": "the simulator's code has changed"}
"""Differences that `--force` accepts when a run is resumed."""
_MOST_NAMED = 3
_DIGEST = re.compile(r"[0-9a-f]{64}")


def check_replaceable(path: Path) -> None:
    """Check that a directory holds nothing, or a run that can be replaced.

    Raises:
        BadInputError: if it holds files but no run, or something is in the way.
    """
    if is_vacant(path):
        return
    try:
        RunRecord(path)
    except (OtherSchemaError, DamagedRecordError):
        pass
    except BadInputError as error:
        raise BadInputError(
            f"{path}: holds files that are not a run's, so it is not overwritten; pass --runs DIR to write elsewhere"
        ) from error
    for entry in foreign_entries(path):
        if entry.name in _IN_FOLDERS or (entry.parent == path and _FILES.fullmatch(entry.name)):
            kind = "link" if entry.is_symlink() else "directory" if entry.is_dir() else "file"
            raise BadInputError(f"{entry}: is a {kind} that is not the run's, so the run is not overwritten; move it")


def make_room(path: Path) -> None:
    """Remove the files of an earlier run, its run.json last: a directory without one cannot be recognised as a run.

    All other files are left alone.

    Raises:
        BadInputError: as `check_replaceable` does.
    """
    check_replaceable(path)
    if is_vacant(path):
        return
    with suppress(BadInputError, RecordError):  # it is removed in any case
        end(path, "interrupted")  # from now on the directory holds no complete run
    # Without its checkpoints a run begins again; with them, but without the rest, it could not be resumed.
    for file in sorted(own_files(path), key=lambda file: (file.name == "run.json", file.parent.name != CHECKPOINTS)):
        file.unlink()
    for folder in _IN_FOLDERS:
        with suppress(OSError):  # it is not there, or a file of the user's is in it
            (path / folder).rmdir()


def end(path: Path, status: str, error: str | None = None) -> None:
    """Record how a run ended whose process no longer writes.

    Raises:
        BadInputError: if it is not a run directory.
        RecordError: if it cannot be written.
    """
    info = {**RunRecord(path).info, "status": status, **({"error": error} if error else {})}
    write_json(path / "run.json", sealed(info))


def is_vacant(path: Path) -> bool:
    """Return whether a path is free for a run: nothing is there, or only what a run makes before its run.json.

    Raises:
        BadInputError: if it is not a directory, or cannot be read.
    """
    try:
        if not path.is_dir():
            if path.exists() or path.is_symlink():
                raise BadInputError(f"{path}: is not a directory, so no run can be written there")
            return True
        entries = {entry.name for entry in path.iterdir() if not is_lock_file(entry.name)}
        return entries <= {"timeline", ".run.json"} and not any((path / "timeline").glob("*"))
    except OSError as error:
        raise BadInputError(f"{path}: cannot be read: {error.strerror or error}") from error


def foreign_entries(path: Path) -> list[Path]:
    """Return what lies in a run directory, and in its folders, that no run writes."""
    own = set(own_files(path))
    inside = (entry for name in _IN_FOLDERS if _is_folder(path / name) for entry in (path / name).iterdir())
    top = (entry for entry in path.iterdir() if not (entry.name in _IN_FOLDERS and _is_folder(entry)))
    return sorted(entry for entry in (*top, *inside) if entry not in own and not is_lock_file(entry.name))


def own_files(path: Path) -> Iterator[Path]:
    """Yield the files in a run directory that a run writes, by their names; its lock is not among them."""
    for name, pattern in ((".", _FILES), *_IN_FOLDERS.items()):
        if _is_folder(path / name):
            yield from (
                file for file in (path / name).iterdir() if pattern.fullmatch(file.name) and not _is_folder(file)
            )


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


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
    if is_vacant(path):
        return None
    if not os.path.lexists(path / "run.json"):
        raise BadInputError(f"{path}: already holds files that are not a run's; pass --runs DIR to write elsewhere")
    record = RunRecord(path)
    status, differences = record.info["status"], _differences(record.info, {**identity, "packages": package_versions()})
    if record.is_complete:
        if not differences:
            _need_whole(record)
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


def _need_whole(record: RunRecord) -> None:
    """Check that a finished run is as it was written."""
    try:
        record.check()
    except DamagedRecordError as error:
        raise DamagedRecordError(f"{error}; pass --overwrite to replace the run, or delete its directory") from error


def _differences(info: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, str]:
    """Return the differences between a run and the wanted one: the field, and a clause about it."""
    info, wanted = ({**one, "scenario": without_folders(one.get("scenario", {}))} for one in (info, wanted))
    differences: dict[str, str] = {}
    for key, now in wanted.items():
        before = info.get(key)
        if before == now or (key == "digest" and info["scenario"] != wanted["scenario"]):
            continue
        if isinstance(before, dict) and isinstance(now, dict):
            differences[key] = _listed(_changes(before, now))
        else:
            differences[key] = _HARMLESS.get(key, _was(key, before, now))
    return differences


def _changes(before: Any, now: Any, where: str = "") -> dict[str, str]:
    """Return the fields in which two nested mappings differ, and a clause about each."""
    if isinstance(before, dict) and isinstance(now, dict):
        pairs = {key: (before.get(key), now.get(key)) for key in [*before, *(key for key in now if key not in before)]}
    elif isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        pairs = dict(enumerate(zip(before, now, strict=True)))
    else:
        return {} if before == now else {where: _was(where, before, now)}
    found: dict[str, str] = {}
    for key, (old, new) in pairs.items():
        found |= _changes(old, new, f"{where}.{key}" if where else str(key))
    return found


def _was(where: str, before: Any, now: Any) -> str:
    """Return a clause about a value that has changed; of digests the beginning tells them apart."""
    old, new = (f"{value[:12]}..." if _DIGEST.fullmatch(str(value)) else value for value in (before, now))
    return f"{where} was {old}, and now is {new}"


def _listed(clauses: Mapping[str, str]) -> str:
    named = list(clauses.values())
    more = f"; and {len(named) - _MOST_NAMED} more" if len(named) > _MOST_NAMED else ""
    return "; ".join(named[:_MOST_NAMED]) + more
