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

from simulator.errors import InterludeError, one_line
from simulator.experiment import Moment, Part, run_scenario

_MOMENT_EVERY_S = 0.3


def carry_out(part: Part, runs: Path, device: str, tell: "Telling | None") -> tuple[str, str | None] | None:
    """Carry out a run in this process.

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
            overwrite=True,
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
    connection.send(("ready", None))
    while True:
        message = messages.get()
        try:
            part: Part = pickle.loads(message)
        except Exception as error:
            failure: tuple[str, str | None] | None = (one_line(repr(error)), traceback.format_exc())
        else:
            failure = carry_out(part, part.runs, str(part.device), Telling(connection))
        connection.send(("ended", failure))


def _listen(connection: Connection, messages: "queue.SimpleQueue[bytes]") -> None:
    """Pass messages on; with the parent gone, end this process at once, so that nobody writes behind its back."""
    try:
        while True:
            messages.put(connection.recv_bytes())
    except (EOFError, OSError):
        os._exit(1)
