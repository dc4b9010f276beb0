"""Writes several files at once: either all of them appear, complete, or none."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from interlude.simulator.errors import BadInputError


def write_files(files: Mapping[Path, bytes | Iterable[bytes]]) -> list[Path]:
    """Write files, each to a temporary name that is renamed once all are written; returns their paths.

    Args:
        files: the content of each, whole or in pieces that are written as they come.

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
            with part.open("wb") as handle:
                handle.writelines([content] if isinstance(content, bytes) else content)
        for part, path in written.items():
            part.replace(path)
    except BaseException as error:
        for part in written:
            part.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise BadInputError(f"{error.filename or 'files'}: cannot be written: {error.strerror or error}") from error
        raise
    return list(files)
