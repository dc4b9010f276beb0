"""The arrows between the rooms of the house, read off the import statements."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HOUSE = ("simulator", "models", "analysis")
# small modules that every room of the simulator may use
CORRIDOR = {"arrays", "randomness", "errors", "data_directory", "files"}

ALLOWED = {
    "models": {"models"},
    "analysis": {"analysis", "record", "errors"},
    "world": {"world", "arrays", "randomness", "data_directory"},  # not errors: what it refuses are ValueErrors
    "data": {"data", "models"} | CORRIDOR,
    "training": {"training", "models"} | CORRIDOR,
    "federation": {"federation", "training", "world", "models"} | CORRIDOR,
    "sweep": {
        "sweep",
        "bars",
        "experiment",
        "part",
        "run",
        "assembly",
        "scenario",
        "record",
        "checkpoint",
        "survival",
        "strict_yaml",
        "methods",
        "training",
    }
    | CORRIDOR,
    "methods": {"methods", "federation", "training", "models"} | CORRIDOR,
}

FILES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for package in HOUSE
    for path in sorted((ROOT / package).rglob("*.py"))
}


def is_for_type_checkers(node):
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def statements(node):
    """Yield every node below, except what only a type checker reads."""
    for child in ast.iter_child_nodes(node):
        if not is_for_type_checkers(child):
            yield child
            yield from statements(child)


def house_imports(module):
    """Return the modules of the house that a module imports, wherever in its file."""
    found = set()
    for node in statements(ast.parse(FILES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: a relative import hides which room it leads to"
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in FILES else node.module for name in names}
    return {name for name in found if name.partition(".")[0] in HOUSE}


def room_of(module):
    """Return the room of a module: its folder, or for a module between the rooms of the simulator its own name."""
    package, _, inside = module.partition(".")
    return inside.partition(".")[0] or package if package == "simulator" else package


def modules_of(room):
    return [module for module in FILES if room_of(module) == room]


@pytest.mark.parametrize("room", ALLOWED)
def test_a_room_imports_only_the_rooms_below_it(room):
    arrows = {(module, target) for module in modules_of(room) for target in house_imports(module)}
    assert arrows
    assert {(module, target) for module, target in arrows if room_of(target) not in ALLOWED[room]} == set()


def test_only_the_command_line_imports_analysis():
    importers = {m for m in FILES if any(room_of(target) == "analysis" for target in house_imports(m))}
    assert {module for module in importers if room_of(module) != "analysis"} <= {"simulator.cli"}


def test_nobody_imports_the_command_line():
    assert {module for module in FILES if "simulator.cli" in house_imports(module)} == set()


@pytest.mark.parametrize("module", sorted(CORRIDOR))
def test_the_corridor_leads_to_no_room(module):
    assert {room_of(target) for target in house_imports(f"simulator.{module}")} <= CORRIDOR


UNPICKLERS = {"load", "loads", "Unpickler", "read_pickle", "unsafe_load", "full_load"}
WORKERS_MESSAGES = {"simulator.training.worker", "simulator.sweep.worker"}  # written by this program, read from pipes


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


def test_there_are_no_circles():
    TopologicalSorter({module: house_imports(module) - {module} for module in FILES}).prepare()


def test_every_room_is_known():
    folders = {path.name for path in (ROOT / "simulator").iterdir() if (path / "__init__.py").exists()}
    assert folders == ALLOWED.keys() - {"models", "analysis"}
