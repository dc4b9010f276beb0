"""The door of the command line: Ctrl-C is one sentence from the first moment on, also while modules are loaded."""

import sys


def main() -> None:
    """Load the command line and run it; exit code 130 if it is interrupted before it is loaded."""
    try:
        from interlude.simulator.cli.main import main as run_command

        run_command()
    except KeyboardInterrupt:
        sys.stderr.write("interlude: interrupted\n")
        sys.exit(130)
