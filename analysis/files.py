"""Files appear whole or not at all."""

from collections.abc import Mapping
from pathlib import Path

from simulator.errors import BadInputError


def write_files(files: Mapping[Path, bytes]) -> list[Path]:
    """Write files, each to a temporary name that is renamed once all are written; returns their paths.

    Raises:
        BadInputError: if one cannot be written; then none is.
    """
    temporary = {path.with_name(f".{path.name}.part"): path for path in files}
    try:
        for part, path in temporary.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            part.write_bytes(files[path])
        for part, path in temporary.items():
            part.replace(path)
    except OSError as error:
        for part in temporary:
            part.unlink(missing_ok=True)
        raise BadInputError(f"{error.filename or 'files'}: cannot be written: {error.strerror or error}") from error
    return list(files)
