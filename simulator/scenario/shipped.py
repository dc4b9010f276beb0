"""The scenarios that come with the package, by name."""

import os
from collections.abc import Mapping
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "scenarios"
"""The folder of the shipped scenarios, in a clone and in an installed package."""

SCHEMA_FILE = "schema.json"
"""The JSON Schema that their first lines name, in the same folder."""


def shipped() -> Mapping[str, Path]:
    """Return the shipped scenarios by their paths below the folder, without a suffix: ``paper/bmsfed_cgmnist``."""
    found = sorted(FOLDER.rglob("*.yaml"))
    return {path.relative_to(FOLDER).with_suffix("").as_posix(): path for path in found}


def shipped_or_own(path: Path) -> Path:
    """Return the shipped scenario that a name without a suffix stands for, where no file has it; else the path."""
    is_name = not path.suffix and not path.is_absolute() and not os.path.exists(path)
    return shipped().get(path.as_posix(), path) if is_name else path


def about(path: Path) -> str:
    """Return the first comment of a scenario that is no instruction to an editor, in one line."""
    lines: list[str] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        text = line.removeprefix("#").strip()
        if not line.startswith("#") or (lines and not text):
            break
        if text and not text.startswith("yaml-language-server:"):
            lines.append(text)
    return " ".join(lines)
