"""A worker process of a sweep: takes runs from its parent, one after the other, and reports their progress."""

import os
import pickle
import queue
import sys
import threading
import time
import traceback
from multiprocessing.connection import Connection
from pathlib import Path

from interlude.simulator.errors import InterludeError
from interlude.simulator.own_code.errors import sentence_of
from interlude.simulator.run.experiment import run_scenario
from interlude.simulator.run.interruption import Interrupted, Interruption, ResumePolicy
from interlude.simulator.run.observer import Moment
from interlude.simulator.run.spec import RunSpec

_MOMENT_EVERY_S = 0.3


def execute(
    spec: RunSpec, runs: Path, device: str, report: "Reporter | None", policy: ResumePolicy | None = None
) -> tuple[str, str | None] | None:
    """Execute a run in this process; an unfinished one is resumed.

    Returns:
        None if it is complete, otherwise why it failed, and the traceback if it adds information.
    """
    try:
        run_scenario(
            spec.scenario,
            runs=runs,
            device=device,
            workers=1,
            timing_only=spec.timing_only,
            policy=policy or ResumePolicy(resume=True, checkpoint_every_s=0.0),
            watch=report,
        )
    except InterludeError as error:
        return str(error), None
    except Exception as error:
        return sentence_of(error), traceback.format_exc()
    return None


class Reporter:
    """Reports a run's moments to the parent, a few times a second.

    Args:
        connection: leads to the parent.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._next_host_s = 0.0

    def __call__(self, moment: Moment) -> None:
        """Report a moment, unless the last report is too recent."""
        now_host_s = time.monotonic()
        if now_host_s >= self._next_host_s:
            self._next_host_s = now_host_s + _MOMENT_EVERY_S
            self._connection.send(("moved", moment))


def main() -> None:
    """Execute runs until the parent has ended."""
    connection = Connection(int(sys.argv[1]))
    messages: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(connection, messages), daemon=True).start()
    try:
        with Interruption().by_signals(_leave) as interruption:
            connection.send(("ready", None))
            while True:
                message = messages.get()
                connection.send(("ended", _answer(message, connection, interruption)))
    except Interrupted as interrupted:
        _leave(interrupted)


def _leave(interrupted: Interrupted) -> None:
    os._exit(interrupted.exit_code)


def _answer(message: bytes, connection: Connection, interruption: Interruption) -> tuple[str, str | None] | None:
    """Execute the run that a message names; returns what `execute` returns."""
    try:
        spec, checkpoint_every_s = pickle.loads(message)
    except Exception as error:
        return sentence_of(error), traceback.format_exc()
    policy = ResumePolicy(resume=True, checkpoint_every_s=checkpoint_every_s, interruption=interruption)
    return execute(spec, spec.runs, str(spec.device), Reporter(connection), policy)


def _listen(connection: Connection, messages: "queue.SimpleQueue[bytes]") -> None:
    """Pass messages on; when the parent has ended, end this process at once, so that it writes no further."""
    try:
        while True:
            messages.put(connection.recv_bytes())
    except (EOFError, OSError):
        os._exit(1)
