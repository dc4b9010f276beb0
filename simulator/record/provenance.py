"""Provenance of a run: the versions of packages, and the code as one hash."""

import hashlib
import importlib.metadata
import inspect
import platform
from pathlib import Path

from interlude.simulator.files import digest

_PACKAGES = ("interlude", "numpy", "pandas", "pyarrow", "safetensors", "scikit-learn", "scipy", "simpy", "torch")


def package_versions() -> dict[str, str]:
    """Return the versions of the packages that compute a run."""
    versions = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return versions


def code_digest(method: type) -> str:
    """Return the SHA-256 of the code that computes a run: the simulator, the networks and the method's own module."""
    root = Path(__file__).parents[2]
    files = {*(root / "simulator").rglob("*.py"), *(root / "models").rglob("*.py"), Path(inspect.getfile(method))}
    return hashlib.sha256("".join(sorted(map(digest, files))).encode()).hexdigest()  # wherever the files lie
