"""`interlude new`: files of a user's own to start from."""

import importlib.util
import keyword
import re
from pathlib import Path
from string import Template
from typing import Annotated

import typer

from interlude.simulator.cli.console import say
from interlude.simulator.cli.new_scenario import SCENARIO
from interlude.simulator.errors import BadInputError
from interlude.simulator.scenario.sections import NAME_FORM
from interlude.simulator.scenario.shipped import SCHEMA_FILE

app = typer.Typer(no_args_is_help=True, help="Write a commented file to start from.")

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_LONGEST_NAME = 100

_METHOD = Template('''\
"""$title: a method of my own.

In a scenario: methods: [{name: $name:$title}]

Every hook that can be overridden is described by: python -m pydoc interlude.simulator.methods.interface
"""

from pydantic import Field

from interlude.simulator.methods.interface import (
    Barrier,
    ClientDay,
    CrossEntropy,
    LocalSteps,
    Method,
    MethodOptions,
    Objective,
    Ready,
    ServerRule,
    Steps,
)


class ${title}Options(MethodOptions):
    """What a scenario may set, beside what every method takes (label, waiting, server, proximal)."""

    server: ServerRule = Barrier()  # merge when all are back; OnArrival() and Buffered(size=4) do not wait
    passes: int = Field(1, ge=1, description="passes over a client's samples in one local round")


class $title(Method):
    """$title: FedAvg, to be changed.

    Client:
        `passes` epochs of SGD on CE(fused logits)
    Server:
        theta_g <- sum_k n_k theta_k,g / sum_k n_k, over the clients that trained group g
    Waits:
        clients wait for all their modalities; the server for all dispatched clients
    """

    Options = ${title}Options
    options: ${title}Options

    def client_round(self, client: ClientDay) -> Steps:
        """Spend one local round of one client; every line takes simulated time."""
        yield from client.download()
        for modality in client.modalities:  # leave this out, and the client trains on what is there
            yield from client.wait_for(modality)
        objective = self.objective(client, Ready(client.modalities))
        yield from client.train(LocalSteps(objective, client.num_steps(self.options.passes), "joint"))
        yield from client.upload()

    def objective(self, client: ClientDay, ready: Ready) -> Objective:
        """Return what training minimises: a frozen dataclass of pure functions, as many clients share one call."""
        return CrossEntropy(ready.modalities)
''')
"""FedAvg in verbs, with one option."""


@app.callback()
def _new() -> None:
    """Write a commented file to start from."""


@app.command()
def method(name: Annotated[str, typer.Argument(help="name of the module; NAME.py is written here")]) -> None:
    """Write NAME.py, a method that runs at once and says what can be changed."""
    title = _class_name(name)
    path = Path(f"{name}.py")
    _write(path, _METHOD.substitute(name=name, title=title))
    say(f"Wrote {path}; a scenario names it as: methods: [{{name: {name}:{title}}}]")
    say(f"Try it: interlude run SCENARIO.yaml --set 'methods=[{{name: fedavg}}, {{name: {name}:{title}}}]'")


@app.command()
def scenario(name: Annotated[str, typer.Argument(help="name of the scenario; NAME.yaml is written here")]) -> None:
    """Write NAME.yaml, a scenario that runs at once, with every section explained."""
    if not re.fullmatch(NAME_FORM, name) or len(name) > _LONGEST_NAME:
        raise BadInputError(
            f"NAME: must be letters, digits, '.', '_' and '-', a letter or digit first, at most {_LONGEST_NAME}; given "
            f"'{name[:60]}'"
        )
    path = Path(f"{name}.yaml")
    _write(path, SCENARIO.substitute(name=name))
    say(f"Wrote {path}; try it: interlude check {path}, then: interlude run {path}")
    if not Path(SCHEMA_FILE).exists():
        say(f"For an editor that completes and explains its fields: interlude schema --out {SCHEMA_FILE}")


def _write(path: Path, text: str) -> None:
    """Write a file that is not there yet."""
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise BadInputError(f"{path}: exists already and is not overwritten; choose another name") from error
    except OSError as error:
        raise BadInputError(f"{path}: cannot be written: {error.strerror}") from error


def _class_name(name: str) -> str:
    """Return the name of a module's class, ``my_method`` -> ``MyMethod``.

    Raises:
        BadInputError: if the name can be no module here.
    """
    if not _NAME.fullmatch(name) or keyword.iskeyword(name) or len(name) > _LONGEST_NAME:
        raise BadInputError(
            f"NAME: must be the name of a Python module: letters, digits and _, a letter first, at most "
            f"{_LONGEST_NAME}, no keyword; given '{name[:60]}'"
        )
    title = "".join(part[:1].upper() + part[1:] for part in name.split("_"))
    if keyword.iskeyword(title) or re.search(rf"\b{title}\b", _METHOD.template):
        raise BadInputError(f"NAME: '{name}' would be a class {title}, a name that the file needs; choose another one")
    if not Path(f"{name}.py").exists() and importlib.util.find_spec(name) is not None:
        raise BadInputError(
            f"NAME: '{name}' is an installed module already, which Python would find; choose another one"
        )
    return title
