"""The arrows between the rooms of the house, read off the import statements.

Arrows run down, never up, and imports that only a type checker reads count like any other.
"""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HOUSE = ("simulator", "models", "analysis")
GROUND = {"arrays", "counts", "errors", "files", "formats", "importing", "own_code", "philox", "randomness"}
"""What every room may use: modules and folders of `simulator/` that lead to no room."""

ALLOWED = {
    "models": set(),
    "world": set(),
    "data": {"models"},
    "training": {"models"},
    "federation": {"training", "world", "models"},
    "methods": {"federation", "training", "models"},
    "scenario": {"methods", "data", "world", "training", "models"},
    "record": {"models"},
    "run": {"scenario", "record", "methods", "federation", "training", "world", "data", "models"},
    "calibrate": {"run", "scenario", "methods", "federation", "training", "world", "data", "models"},
    "sweep": {"run", "scenario", "record", "methods", "training"},
    "analysis": {"record"},
    "cli": {"sweep", "calibrate", "run", "scenario", "record", "methods", "federation", "training", "world", "data"}
    | {"models", "analysis"},
    "interlude": {"run", "scenario", "record", "methods", "training", "data", "analysis", "models"},
}
"""Room -> the rooms that it may import, besides itself and the ground."""

FILES = {
    ".".join(("interlude", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__"): path
    for package in HOUSE
    for path in sorted((ROOT / package).rglob("*.py"))
} | {"interlude": ROOT / "interlude" / "__init__.py"}


def house_imports(module):
    """Return the modules of the house that a module imports, wherever in its file."""
    found = set()
    for node in ast.walk(ast.parse(FILES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: a relative import hides which room it leads to"
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in FILES else node.module for name in names}
    assert not any(name.partition(".")[0] in HOUSE for name in found), (
        f"{module}: names of the house begin with interlude"
    )
    return {name for name in found if name.partition(".")[0] == "interlude"}


def room_of(module):
    """Return the room of a module: its folder, or for a module that lies in `simulator/` itself its own name."""
    _, _, inside = module.partition(".")
    return inside.removeprefix("simulator.").partition(".")[0] or "interlude"


def modules_of(room):
    return [module for module in FILES if room_of(module) == room]


@pytest.mark.parametrize("room", ALLOWED)
def test_a_room_imports_only_the_rooms_below_it(room):
    assert modules_of(room)
    arrows = {(module, target) for module in modules_of(room) for target in house_imports(module)}
    allowed = ALLOWED[room] | GROUND | {room}
    assert {(module, target) for module, target in arrows if room_of(target) not in allowed} == set()


def test_the_arrows_between_rooms_make_no_circle():
    TopologicalSorter(ALLOWED).prepare()


def test_the_ground_leads_to_no_room():
    for module in (module for room in GROUND for module in modules_of(room)):
        assert {room_of(target) for target in house_imports(module)} <= GROUND


def test_every_module_has_a_room():
    rooms = {room_of(module) for module in FILES if module != "interlude.simulator"}
    assert rooms == ALLOWED.keys() | GROUND


def test_modules_make_no_circle():
    TopologicalSorter({module: house_imports(module) - {module} for module in FILES}).prepare()


ENGINE = {"clock", "server", "fleet", "journey", "shared_link"}


def test_a_method_names_no_executor_no_future_and_nothing_of_the_engine():
    for module in modules_of("methods"):
        for target in house_imports(module):
            parts = target.split(".")
            assert "executors" not in parts, f"{module} imports {target}"
            assert not ("federation" in parts and parts[-1] in ENGINE), f"{module} imports {target}"


UNPICKLERS = {"load", "loads", "Unpickler", "read_pickle", "unsafe_load", "full_load"}
WORKERS_MESSAGES = {  # written by this program, read from pipes
    "interlude.simulator.training.workers.worker",
    "interlude.simulator.sweep.worker",
}


@pytest.mark.parametrize("module", FILES)
def test_no_pickle_is_read_that_this_program_did_not_write(module):
    """Opening a pickle runs whatever its author wrote into it."""
    for node in ast.walk(ast.parse(FILES[module].read_text(encoding="utf-8"))):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        owner, name = ast.unparse(node.func.value), node.func.attr
        options = {option.arg: ast.unparse(option.value) for option in node.keywords}
        if owner in {"pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve", "pd", "pandas", "yaml"}:
            assert name not in UNPICKLERS or module in WORKERS_MESSAGES, f"{module}, line {node.lineno}"
        if owner in {"np", "numpy"}:
            assert options.get("allow_pickle", "False") == "False", f"{module}, line {node.lineno}"
        if (owner, name) == ("torch", "load"):
            assert options.get("weights_only") == "True", f"{module}, line {node.lineno}"


TRACKERS = {"mlflow", "tensorboard", "trackio", "wandb"}


def test_trackers_are_extras_that_only_their_own_room_loads_by_name():
    """They are slow to import and may be missing, so no import statement names one."""
    for module, path in FILES.items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            named = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            named += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not TRACKERS & {name.partition(".")[0] for name in named}, f"{module}, line {node.lineno}"


def test_trackers_read_records_and_no_run():
    rooms = {room_of(target) for module in FILES if ".trackers" in module for target in house_imports(module)}
    assert rooms <= {"analysis", "record", "errors", "files", "importing"}
