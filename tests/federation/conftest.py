"""Worlds for the federation: one whose times can be worked out on paper, and a wild one to run for real.

On paper idle clients are dispatched first come, first served, starting with 0, 1, 2; `paper_world` says the rest.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from paper_world import Played, play

from interlude import RunRecord, parse_scenario, run_scenario
from interlude.simulator.training.executors.timing_only import TimingOnlyExecutor
from interlude.simulator.training.task import Task


class FirstIdleFirst:
    """Stands in for `interlude.simulator.federation.selection.IdleClients`: a queue."""

    def __init__(self, num_clients: int, seed: int) -> None:
        self._clients = list(range(num_clients))

    def __len__(self):
        return len(self._clients)

    def __iter__(self):
        return iter(self._clients)

    def upcoming(self) -> list[int]:
        return []

    def draw(self) -> int:
        return self._clients.pop(0)

    def put_back(self, client: int) -> None:
        self._clients.append(client)


class TaskList(TimingOnlyExecutor):
    """Trains nothing and remembers what it was asked to."""

    needs_tasks = True

    def __init__(self) -> None:
        self.tasks: list[Task] = []

    def submit(self, task: Task) -> Any:
        self.tasks.append(task)
        return super().submit(task)


@pytest.fixture
def paper(monkeypatch) -> Callable[..., Played]:
    """Return `play`, with idle clients as a queue unless `first_idle_first` is false."""

    def play_in_order(*args: Any, first_idle_first: bool = True, **kwargs: Any) -> Played:
        if first_idle_first:
            monkeypatch.setattr("interlude.simulator.federation.fleet.IdleClients", FirstIdleFirst)
        return play(*args, **kwargs)

    return play_in_order


@pytest.fixture
def task_list() -> TaskList:
    """Return an executor that remembers its tasks."""
    return TaskList()


@pytest.fixture(scope="session")
def run(tmp_path_factory) -> Callable[..., list[RunRecord]]:
    """Return a function that runs a scenario's mapping in a folder of its own; a run that was made is shared."""
    made: dict[str, list[RunRecord]] = {}

    def run_in_new_folder(
        given: Mapping[str, Any], *, timing_only: bool = True, afresh: bool = False
    ) -> list[RunRecord]:
        key = json.dumps([given, timing_only])
        if afresh or key not in made:
            runs = tmp_path_factory.mktemp("runs")
            made[key] = run_scenario(parse_scenario(given), runs=runs, device="cpu", timing_only=timing_only)
        return made[key]

    return run_in_new_folder
