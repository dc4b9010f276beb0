"""The door of the command line: Ctrl-C and SIGTERM are one sentence from the first moment on, as modules are loaded."""

import os
import signal
from types import FrameType


def main() -> None:
    """Load the command line and run it; a signal before it is loaded ends the process with a sentence."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _end)
    from interlude.simulator.cli.main import main as run_command

    run_command()


def _end(number: int, frame: FrameType | None) -> None:
    """End the process on the spot: nothing is begun, and an exception in the middle of an import might be caught."""
    del frame
    os.write(2, b"interlude: interrupted\n")
    os._exit(128 + number)
