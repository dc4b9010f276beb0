"""What a record holds, written down when it is closed: size and SHA-256 of every file, and of run.json itself.

run.json has a key `contents`, a mapping from the path of a file in the run directory to its `bytes`, `sha256` and, of
a table, `rows`; and a key `info_sha256`, over its own other content but the host seconds, which differ between equal
runs. A record without these keys was written before they were, and is read unchecked.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from interlude.simulator.errors import one_line
from interlude.simulator.files import digest

CONTENTS = "contents"
SEAL = "info_sha256"
_TIMELINE_PARTS = "part-*.parquet"


def sealed(info: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content of a run.json with its own digest."""
    return {**info, SEAL: _digest_of(info)}


def is_as_sealed(info: Mapping[str, Any]) -> bool:
    """Return whether the content of a run.json is what its own digest says, where it has one."""
    return SEAL not in info or info[SEAL] == _digest_of(info)


def content_of(path: Path, rows: int | None = None) -> dict[str, Any]:
    """Return what `contents` says about a file; raises OSError if it cannot be read."""
    content: dict[str, Any] = {"bytes": path.stat().st_size, "sha256": digest(path)}
    return content if rows is None else {**content, "rows": rows}


def damage_of(path: Path, written: Mapping[str, Any]) -> str | None:
    """Return how a file differs from what `contents` says about it; None if it does not.

    A file that is read is hashed as well: that takes a fraction of the time of decoding it.
    """
    try:
        if not path.is_file():
            return "is not a file" if path.exists() else "is missing"
        if (size := path.stat().st_size) != written["bytes"]:
            return f"has {size:,} bytes, but {written['bytes']:,} were written"
        return None if digest(path) == written["sha256"] else "is not what was written: its SHA-256 differs"
    except OSError as error:
        return f"cannot be read: {one_line(error.strerror or error)}"


def damages_of(directory: Path, contents: Mapping[str, Any], within: str = "") -> dict[str, str]:
    """Return how the files of a run directory differ from what was written.

    Args:
        directory: the run directory.
        contents: what was written, by the path in the directory.
        within: only files whose paths begin so.

    Returns:
        What is wrong with a file, by its path; a part of a timeline that was not written counts, too.
    """
    parts = (f"timeline/{part.name}" for part in sorted((directory / "timeline").glob(_TIMELINE_PARTS)))
    found = {
        name: damage_of(directory / name, contents[name]) if name in contents else "is not a part of this run"
        for name in (*contents, *parts)
        if name.startswith(within)
    }
    return {name: damage for name, damage in found.items() if damage is not None}


def _digest_of(info: Mapping[str, Any]) -> str:
    plain: dict[str, Any] = json.loads(json.dumps(info))  # as it comes back from the file: its keys are texts
    plain.pop(SEAL, None)
    if isinstance(plain.get("totals"), dict):
        plain["totals"].pop("host_s", None)
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()
