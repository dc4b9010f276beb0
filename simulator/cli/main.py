"""The command line: its commands, and its errors as one sentence.

A command imports its own dependencies when it is called, so that the others, and ``--help``, start sooner.
"""

import os
import shlex
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated, NoReturn

import typer

from interlude.simulator.cli import (
    calibrate,
    console,
    data,
    export,
    figures,
    inspection,
    new,
    run,
    schema,
    summary,
    sweep,
)
from interlude.simulator.cli.streams import lenient_streams
from interlude.simulator.errors import BadInputError, InterludeError, one_line
from interlude.simulator.own_code.errors import is_users, sentence_of
from interlude.simulator.record.provenance import package_versions
from interlude.simulator.run.interruption import Interrupted, Interruption

app = typer.Typer(
    no_args_is_help=True,
    epilog="--debug, anywhere on the line, adds the traceback to an error.",
    pretty_exceptions_enable=False,
)
app.command()(run.run)
app.command()(sweep.sweep)
app.command()(inspection.check)
app.command()(calibrate.calibrate)
app.add_typer(data.app, name="data")
app.command(name="list")(inspection.list_)
app.command()(inspection.explain)
app.command()(inspection.verify)
app.command()(summary.summary)
app.add_typer(new.app, name="new")
app.command()(schema.schema)
app.command(cls=figures.PlotCommand)(figures.plot)
app.command()(figures.table)
app.command()(figures.report)
app.command()(figures.trace)
app.command()(export.export)

_INTERRUPTED = 130  # typer's exit code after Ctrl-C
_SHOW_CURSOR = b"\x1b[?25h\n"  # a progress bar hides it


def _say_version(is_wanted: bool) -> None:
    if is_wanted:
        console.say(f"interlude {package_versions()['interlude']}")
        raise typer.Exit


@app.callback()
def _interlude(
    version: Annotated[
        bool, typer.Option("--version", help="print the version", callback=_say_version, is_eager=True)
    ] = False,
) -> None:
    """Simulates asynchronous multi-modal federated learning on a simulated wall clock."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; bad input is one sentence and exit code 2.

    Output that cannot be written ends no command, and changes neither its files nor its exit code.
    """
    with lenient_streams() as output:
        try:
            _execute(arguments)
        finally:
            output.flush()
            if output.failure is not None:
                console.inform(f"standard output could not be written: {output.failure.strerror}")


def _execute(arguments: Sequence[str] | None) -> None:
    given = list(sys.argv[1:] if arguments is None else arguments)
    with suppress(OSError):  # the folder may be gone
        if (here := os.getcwd()) not in sys.path:
            sys.path.append(here)  # a user's own modules, behind what is installed
    console.command.set(shlex.join(["interlude", *given]))
    debug = "--debug" in given
    if debug:
        given.remove("--debug")
    with Interruption().by_signals(_leave) as interruption:
        try:
            _check_text(given)
            code = app(args=given, standalone_mode=False, prog_name="interlude", obj=interruption)
        except InterludeError as error:
            if debug:
                traceback.print_exc()
            _exit(str(error), 2 if isinstance(error, BadInputError) else 1)
        except Interrupted as interrupted:
            console.inform(_how_to_resume(interrupted), is_whole=True)
            sys.exit(interrupted.exit_code)
        except typer.TyperException as error:  # the command line itself: an unknown flag, a missing argument
            message = error.format_message() if hasattr(error, "format_message") else str(error)
            _exit(message.replace("Value error, ", ""), 2)
        except Exception as error:
            if not is_users(error):
                raise
            if debug:
                traceback.print_exc()
            _exit(sentence_of(error), 1)
        if code == _INTERRUPTED:
            _exit("interrupted", _INTERRUPTED)
        sys.exit(code if isinstance(code, int) else 0)


def _check_text(arguments: Sequence[str]) -> None:
    """Refuse what no file that holds the command, e.g. a report, could say."""
    for argument in arguments:
        if not argument.isascii() and argument != argument.encode("utf-8", "replace").decode("utf-8"):
            raise BadInputError(f"argument '{argument}': is not UTF-8 text")


def _exit(sentence: str, exit_code: int) -> NoReturn:
    console.inform(sentence)
    sys.exit(exit_code)


def _how_to_resume(interrupted: Interrupted) -> str:
    """Return what interrupted the command, and how to resume it."""
    command = console.command.get()
    if not command.startswith(("interlude run ", "interlude sweep ")):
        return str(interrupted)
    if command.startswith("interlude run ") and "--resume" not in command:
        command = command.replace(" --overwrite", "") + " --resume"
    return f"{interrupted}; the records so far are kept; resume with: {command}"


def _leave(interrupted: Interrupted) -> None:
    """End the process on the spot, in a signal handler: past Python's streams, which it may have interrupted."""
    with suppress(OSError):  # a closed stream must not keep the process
        if os.isatty(1):
            os.write(1, _SHOW_CURSOR)
        os.write(2, f"interlude: {one_line(_how_to_resume(interrupted))}\n".encode())
    os._exit(interrupted.exit_code)


if __name__ == "__main__":
    main()
