"""Writes files atomically: a reader sees the old content or the new one, never a part."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from interlude.simulator.errors import RecordError, one_line


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn an error of the operating system into a RecordError that names the file."""
    try:
        yield
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else one_line(error)
        raise RecordError(f"{path}: cannot be written: {reason}; everything written so far is consistent") from error


@contextmanager
def aside(temporary: Path, path: Path) -> Iterator[None]:
    """Rename a temporary file to its name once it is written, or remove it."""
    try:
        yield
        temporary.rename(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_json(path: Path, info: Mapping[str, Any]) -> None:
    """Write a JSON file: raises RecordError if it cannot be written."""
    temporary = path.with_name(f".{path.name}")
    with writing(path), aside(temporary, path):
        temporary.write_text(json.dumps(info, indent=2) + "\n", encoding="utf-8")
