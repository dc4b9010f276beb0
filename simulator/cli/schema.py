"""`interlude schema`: the JSON Schema of a scenario, for editors."""

import json
from pathlib import Path
from typing import Annotated

import typer

from interlude.simulator.cli.console import say_written
from interlude.simulator.cli.options import path_of


def schema(
    out: Annotated[
        Path | None, typer.Option("-o", "--out", parser=path_of, metavar="FILE", help="unset: standard output")
    ] = None,
    own: Annotated[
        list[str] | None,
        typer.Option("--with", metavar="MODULE:CLASS", help="a method of your own to include; may be repeated"),
    ] = None,
) -> None:
    """Print the JSON Schema of a scenario; an editor then completes, explains and checks every field."""
    from interlude.simulator.scenario.schema import scenario_schema

    text = schema_text(scenario_schema(tuple(dict.fromkeys(own or ()))))
    if out is None:
        typer.echo(text, nl=False)
        return
    from interlude.analysis.files import write_files

    write_files({out: text.encode()})
    say_written([out])


def schema_text(schema: dict[str, object]) -> str:
    """Return a schema as the text of its file."""
    return json.dumps(schema, indent=1, ensure_ascii=False) + "\n"
