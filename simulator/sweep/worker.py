"""A worker process of a sweep: takes runs from its parent, one after the other, and tells it how they go on."""

import os
import pickle
import queue
import sys
import threading
import time
import traceback
from multiprocessing.connection import Connection
from pathlib import Path

from interlude.simulator.errors import InterludeError, one_line
from interlude.simulator.run.checkpointer import Interrupted, Interruption, ResumePolicy
from interlude.simulator.run.experiment import run_scenario
from interlude.simulator.run.loop import Moment
from interlude.simulator.run.spec import RunSpec

_MOMENT_EVERY_S = 0.3


def execute(
    part: RunSpec, runs: Path, device: str, tell: "Telling | None", survival: ResumePolicy | None = None
) -> tuple[str, str | None] | None:
    """Carry out a run in this process; nothing else is there but, to be gone on with, an unfinished part of it.

    Returns:
        None if it is complete, otherwise why it failed, and the traceback where that says more.
    """
    try:
        run_scenario(
            part.scenario,
            runs=runs,
            device=device,
            workers=1,
            timing_only=part.timing_only,
            survival=survival or ResumePolicy(resume=True, checkpoint_every_s=0.0),
            watch=tell,
        )
    except InterludeError as error:
        return str(error), None
    except Exception as error:
        return one_line(repr(error)), traceback.format_exc()
    return None


class Telling:
    """Tells the parent of a run's moments, a few times a second.

    Args:
        connection: leads to the parent.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._next_host_s = 0.0

    def __call__(self, moment: Moment) -> None:
        """Tell of a moment, unless it is too soon after the last."""
        now_host_s = time.monotonic()
        if now_host_s >= self._next_host_s:
            self._next_host_s = now_host_s + _MOMENT_EVERY_S
            self._connection.send(("moved", moment))


def main() -> None:
    """Carry out runs until the parent is gone, whatever became of it."""
    connection = Connection(int(sys.argv[1]))
    messages: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(connection, messages), daemon=True).start()
    with Interruption().by_signals() as interruption:
        connection.send(("ready", None))
        try:
            while True:
                message = messages.get()
                connection.send(("ended", _answer(message, connection, interruption)))
        except Interrupted as interrupted:
            os._exit(interrupted.exit_code)


def _answer(message: bytes, connection: Connection, interruption: Interruption) -> tuple[str, str | None] | None:
    """Carry out the run that a message asks for; returns what `execute` returns."""
    try:
        part, checkpoint_every_s = pickle.loads(message)
    except Exception as error:
        return one_line(repr(error)), traceback.format_exc()
    survival = ResumePolicy(resume=True, checkpoint_every_s=checkpoint_every_s, interruption=interruption)
    return execute(part, part.runs, str(part.device), Telling(connection), survival)


def _listen(connection: Connection, messages: "queue.SimpleQueue[bytes]") -> None:
    """Pass messages on; with the parent gone, end this process at once, so that nobody writes behind its back."""
    try:
        while True:
            messages.put(connection.recv_bytes())
    except (EOFError, OSError):
        os._exit(1)
