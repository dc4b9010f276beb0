"""Runs that are stopped at an event of their clock, and resumed."""

import math
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from interlude import RunRecord, parse_scenario, run_scenario
from interlude.simulator.run.interruption import Interrupted, Interruption, ResumePolicy


class AtEvents(Interruption):
    """Asks for the end after some event of the clock."""

    def __init__(self, event: float) -> None:
        super().__init__()
        self.event = event

    @contextmanager
    def pausing(self, pause):
        clock = pause.__self__
        advance = clock.advance

        def advance_to_the_event(until_s: float, last_event: float = math.inf) -> bool:
            arrived = advance(until_s, min(last_event, self.event))
            if clock.num_events == self.event and not self.is_asked and not clock.is_stopped:
                self.ask()
                return False
            return arrived

        clock.advance = advance_to_the_event
        with super().pausing(pause):
            yield


def stop_at(given: Mapping[str, Any], runs: Path, *events: float, timing_only: bool = False) -> Path:
    """Stop a run of one method after each of some events; returns the newest checkpoint."""
    scenario = parse_scenario(given)
    for event in events:
        policy = ResumePolicy(resume=True, interruption=AtEvents(event), checkpoint_every_s=1e6)
        with pytest.raises(Interrupted):
            run_scenario(scenario, runs=runs, device="cpu", workers=1, timing_only=timing_only, policy=policy)
    return max(runs.rglob("*.safetensors"), key=lambda path: path.name)


def play(
    given: Mapping[str, Any], runs: Path, *events: float, timing_only: bool = False, workers: int = 1
) -> RunRecord:
    """Run a scenario of one method, stopped and resumed after each of some events."""
    if events:
        stop_at(given, runs, *events, timing_only=timing_only)
    policy = ResumePolicy(resume=True, checkpoint_every_s=0.0)
    (record,) = run_scenario(
        parse_scenario(given), runs=runs, device="cpu", workers=workers, timing_only=timing_only, policy=policy
    )
    return record


def content(record: RunRecord) -> dict[str, bytes]:
    """Return the files of a run but run.json, which says how long it took."""
    paths = sorted(path for path in record.path.rglob("*") if path.is_file() and path.name != "run.json")
    return {path.relative_to(record.path).as_posix(): path.read_bytes() for path in paths}


@pytest.fixture(scope="session")
def stopped_and_resumed() -> Callable[..., RunRecord]:
    """Return `play`."""
    return play


@pytest.fixture
def stop() -> Callable[..., Path]:
    """Return `stop_at`."""
    return stop_at


@pytest.fixture(scope="session")
def files_of() -> Callable[[RunRecord], dict[str, bytes]]:
    """Return `content`."""
    return content
