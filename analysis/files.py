"""Writes several files at once: either all of them appear, complete, or none."""

from collections.abc import Mapping
from pathlib import Path

from interlude.simulator.errors import BadInputError


def write_files(files: Mapping[Path, bytes]) -> list[Path]:
    """Write files, each to a temporary name that is renamed once all are written; returns their paths.

    Raises:
        BadInputError: if one cannot be written; then none is.
    """
    for path in files:
        if path.is_dir():
            raise BadInputError(f"{path}: is a directory, not a file to write")
    written: dict[Path, Path] = {}
    try:
        for path, content in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            part = path.with_name(f".{path.name}.part")
            written[part] = path
            part.write_bytes(content)
        for part, path in written.items():
            part.replace(path)
    except OSError as error:
        for part in written:
            part.unlink(missing_ok=True)
        raise BadInputError(f"{error.filename or 'files'}: cannot be written: {error.strerror or error}") from error
    return list(files)
