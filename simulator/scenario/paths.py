"""Relative paths in a scenario: below the data directory, else beside the scenario's file, else where the command runs.

The first and the last are looked for by `interlude.simulator.files.located` when a file is opened. What lies beside the
scenario is written out as an absolute path when the scenario is read, so that a run's processes find it wherever they
run; a run's identity has the file's name and content, not its folder.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from interlude.simulator.files import OPTIONS, PATHS, WITH_FILES, data_directory


def beside(document: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return a scenario as plain data, the paths of what lies in a folder written out.

    Nothing changes where the folder is the working directory: a relative path leads there by itself.

    Args:
        document: a scenario's sections; only those of data and world name files.
        folder: the folder of the scenario's file.
    """
    home = Path(os.path.abspath(folder))
    try:
        if os.path.samefile(home, os.getcwd()):
            return dict(document)
    except OSError:  # either is gone: the reader of the file says so
        return dict(document)
    return {key: _written_out(node, home) if key in WITH_FILES else node for key, node in document.items()}


def _written_out(node: Any, home: Path, key: str = "") -> Any:
    if isinstance(node, dict) and key != OPTIONS:
        return {name: _written_out(child, home, name) for name, child in node.items()}
    if isinstance(node, list):
        return [_written_out(child, home) for child in node]
    return _absolute(node, home) if key in PATHS and isinstance(node, str) and node else node


def _absolute(given: str, home: Path) -> str:
    directory = data_directory()
    is_data = directory is not None and os.path.exists(directory / given)
    found = os.path.normpath(home / given)
    return found if not os.path.isabs(given) and not is_data and os.path.exists(found) else given
