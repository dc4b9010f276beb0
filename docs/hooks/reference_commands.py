"""The page of all commands, from their ``--help``."""

import typer
from typer.cli import get_docs_for_click

from interlude.simulator.cli.main import app


def commands_page() -> str:
    """Return every command with its arguments and options."""
    command = typer.main.get_command(app)
    context = typer.Context(command, info_name="interlude")
    return get_docs_for_click(obj=command, ctx=context, name="interlude", title="Every command and option")
