"""Shared by all tests: one small valid scenario, ways to change it, and a wild one."""

import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import yaml
from tiny_scenario import TINY

from interlude.simulator.methods import interface

# The same examples on every machine, and as long as each takes: a test that fails, fails again.
hypothesis.settings.register_profile("repeatable", derandomize=True, database=None, deadline=None)
hypothesis.settings.load_profile("repeatable")

REMOVED = object()


@pytest.fixture(scope="session")
def removed() -> object:
    """Return what `scenario_with` takes for a key to be removed."""
    return REMOVED


@pytest.fixture(scope="session")
def scenario_with() -> Callable[..., dict[str, Any]]:
    """Return a function from changes, ``{"clients.count": 5}``, to a fresh mapping; `REMOVED` removes a key."""

    def build(changes: Mapping[str, Any] | None = None) -> dict[str, Any]:
        scenario = deepcopy(TINY)
        for key, value in (changes or {}).items():
            *path, last = key.split(".")
            node: Any = scenario
            for step in path:
                node = node[int(step)] if isinstance(node, list) else node.setdefault(step, {})
            if value is REMOVED:
                del node[last]
            else:
                node[int(last) if isinstance(node, list) else last] = deepcopy(value)
        return scenario

    return build


@pytest.fixture
def scenario_file(tmp_path: Path, scenario_with: Callable[..., dict[str, Any]]) -> Callable[..., Path]:
    """Return a function from changes to a scenario's YAML file."""

    def write(changes: Mapping[str, Any] | None = None, name: str = "tiny.yaml") -> Path:
        path = tmp_path / name
        path.write_text(yaml.safe_dump(scenario_with(changes), sort_keys=False), encoding="utf-8")
        return path

    return write


_LOGNORMAL_ARRIVAL = {
    "per_client": {"distribution": "lognormal", "median_s": 1.5, "sigma": 0.8},
    "jitter_sigma": 0.3,
}

_WILD: dict[str, Any] = {
    "name": "wild",
    "seed": 3,
    "data": {"dataset": "cg-digits", "partition": {"kind": "dirichlet", "alpha": 2.0}},
    "model": {"encoder": "mlp", "width": 4},
    "clients": {"count": 4},
    "world": {
        "arrival": {"gray": _LOGNORMAL_ARRIVAL, "color": _LOGNORMAL_ARRIVAL},
        "compute": {
            "throughput_gflops": {"distribution": "lognormal", "median": 0.0005, "sigma": 0.5},
            "overhead_s": 0.05,
            "jitter_sigma": 0.2,
        },
        "network": {
            "uplink_mbps": {"distribution": "lognormal", "median": 0.1, "sigma": 0.5},
            "downlink_mbps": {"distribution": "lognormal", "median": 0.2, "sigma": 0.5},
            "latency_ms": {"distribution": "lognormal", "median": 50, "sigma": 0.5},
            "jitter_sigma": 0.2,
        },
        "faults": {"dropout_probability": 0.1},
    },
    "training": {"batch_size": 16, "window_samples": 48, "optimizer": {"name": "sgd", "learning_rate": 0.05}},
    "methods": [{"name": "fedavg"}],
    "until": {"simulated_s": 15},
    "evaluate": {"every_s": 1, "samples": 50},
}


@pytest.fixture(scope="session")
def wild() -> Callable[..., dict[str, Any]]:
    """Return a function from methods and changed sections to a scenario's mapping, lognormal in everything."""

    def build(*methods: Mapping[str, Any], **sections: Any) -> dict[str, Any]:
        return {**deepcopy(_WILD), "methods": [dict(method) for method in methods], **sections}

    return build


LONGEST_FIRST = (
    "test_local_processes.py",  # sweeps that are killed and begun again
    "test_fuzz.py",
    "test_strategies.py",
    "test_interruptions.py",
    "test_resume.py",
    "test_pinned_order.py",
)
"""Files of a minute and more. A file is played by one process, so the one that is given out last is waited for."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Move the longest files to the front; the others stay in their order."""
    ranks = {name: rank for rank, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: ranks.get(item.path.name, len(ranks)))


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Keep bytes out of tests' names: a gzip file holds the time it was made, and processes must agree on all names."""
    return argname if isinstance(val, bytes) else None


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Path, str]]:
    """Return the module that the interface of methods documents, where imports find it, and what it should print."""
    documentation = interface.__doc__ or ""
    module, printed = documentation.split("(``python largest_loss.py``):\n\n")[1].split("\nIt prints:\n\n")
    path = tmp_path / "largest_loss.py"
    path.write_text(textwrap.dedent(module), encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    yield path, textwrap.dedent(printed)
    sys.modules.pop("largest_loss", None)
