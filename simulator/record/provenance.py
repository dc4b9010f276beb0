"""Provenance of a run: the versions of packages, and the code as one hash."""

import hashlib
import importlib.metadata
import inspect
import platform
from functools import cache
from pathlib import Path

from interlude.simulator.files import digest

_PACKAGES = ("interlude", "numpy", "pandas", "pyarrow", "safetensors", "scikit-learn", "scipy", "simpy", "torch")


def package_versions() -> dict[str, str]:
    """Return the versions of the packages that compute a run."""
    return {"python": platform.python_version(), **{package: _version(package) for package in _PACKAGES}}


@cache  # a process keeps the packages that it has loaded
def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def code_digest(method: type) -> str:
    """Return the SHA-256 of the code that computes a run: the simulator, the networks and the method's own module."""
    digests = _own_digests() | {digest(Path(inspect.getfile(method)))}
    return hashlib.sha256("".join(sorted(digests)).encode()).hexdigest()  # wherever the files lie


@cache  # likewise
def _own_digests() -> frozenset[str]:
    root = Path(__file__).parents[2]
    return frozenset(digest(path) for folder in ("simulator", "models") for path in (root / folder).rglob("*.py"))
