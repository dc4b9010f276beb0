"""Random scenarios from the schema, and shipped ones changed in a few places: each is a whole run or one sentence.

CI plays a few hundred; a developer plays others, and more of them, with
``INTERLUDE_FUZZ=5000 INTERLUDE_FUZZ_SEED=1 pytest -n 0 --timeout 0 tests/cli/test_fuzz.py``. The schema is pydantic's
own, so that a new field is tried without being named here.
"""

import copy
import json
import math
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from mutations import mutated, places, shipped

from interlude.simulator.cli import main as command_line
from interlude.simulator.data import DATASETS
from interlude.simulator.methods import METHODS
from interlude.simulator.record.reader import RunRecord
from interlude.simulator.scenario.scenario import Scenario

NUM_EXAMPLES = int(os.environ.get("INTERLUDE_FUZZ", "200"))
NUM_MUTATED = int(os.environ.get("INTERLUDE_FUZZ", "100"))
FIRST_SEED = int(os.environ.get("INTERLUDE_FUZZ_SEED", "0"))
BATCHES = 6
CPU = ("--device", "cpu")
MODALITIES = ("gray", "color")

BASE = {
    "data.partition": {"kind": "iid"},
    "model.width": 4,
    "clients.count": 3,
    "training.window_samples": 16,
    "until": {"simulated_s": 10},
    "evaluate": {"every_s": 5},
    "limits": {"events": 3_000},
}


class Schema:
    """What a scenario may say, as JSON schema, with data sets and methods in the place of their base classes."""

    def __init__(self):
        self.definitions = {}
        self.root = self._taken_in(Scenario)
        self.root["properties"]["data"] = self._taken_in(DATASETS["cg-digits"].options)
        entries = []
        for name, method in METHODS.items():
            entry = self._taken_in(method.Options)
            entry["properties"]["name"] = {"const": name}
            entries.append({**entry, "required": ["name"]})
        self.root["properties"]["methods"] = {"type": "array", "items": {"oneOf": entries}, "minItems": 1}
        self.root["properties"]["data"]["required"] = ["dataset"]

    def _taken_in(self, model):
        schema = model.model_json_schema()
        self.definitions.update(schema.pop("$defs", {}))
        return schema

    def members(self, schema):
        """Return what a schema may be: itself, or the members of a union, flat."""
        if schema.get("$ref", "").endswith("/OwnModule"):
            return []  # a module of a user's own
        if "$ref" in schema:
            return self.members(self.definitions[schema["$ref"].rpartition("/")[2]])
        inner = schema.get("anyOf") or schema.get("oneOf") or schema.get("allOf")
        return [member for part in inner for member in self.members(part)] if inner else [schema]

    def sections(self, schema, given):
        """Return the members that a mapping could be: those whose constants it has."""
        return [
            member
            for member in self.members(schema)
            if "properties" in member
            and all(
                given.get(key, field.get("default")) == field["const"]
                for key, field in member["properties"].items()
                if "const" in field
            )
        ]


SCHEMA = Schema()


def generated(schema, chance, field=""):
    """Return a random value that a schema allows, small enough to be run."""
    member = chance.choice(SCHEMA.members(schema))
    if "const" in member:
        return member["const"]
    if "enum" in member:
        return chance.choice(member["enum"])
    match member.get("type"):
        case "object" if "properties" in member:
            required = member.get("required", [])
            value = {
                key: generated(inner, chance, key)
                for key, inner in member["properties"].items()
                if key in required or "const" in inner or chance.random() < 0.3
            }
            return named_units(value) if field == "per_client" else value
        case "object" if field == "training":  # a method's own, laid over the scenario's
            laid = generated(SCHEMA.definitions["TrainingSpec"], chance)
            return {key: value for key, value in laid.items() if chance.random() < 0.5}
        case "object":
            inner = member.get("additionalProperties", {})
            return {modality: generated(inner, chance) for modality in MODALITIES}
        case "array":
            if "prefixItems" in member:
                return [generated(inner, chance) for inner in member["prefixItems"]]
            if field in {"probabilities", "values"}:  # must fit each other
                return [0.0, 1.0]
            return [generated(member["items"], chance) for _ in range(chance.choice([1, 1, 2, 3]))]
        case "integer" | "number" as kind:
            return number(member, kind, chance)
        case "boolean":
            return chance.random() < 0.5
        case "string":
            return chance.choice(["a", "gray", "x-1.y_2", "A" * 60]) if "format" not in member else "values.csv"
        case "null":
            return None
    return chance.choice([1, "a", None])


def number(member, kind, chance):
    low = member.get("minimum", member.get("exclusiveMinimum", 0))
    high = min(member.get("maximum", member.get("exclusiveMaximum", math.inf)), 1e4)
    if chance.random() < 0.3 and low not in {0, -math.inf} and "minimum" in member:
        return low
    if kind == "integer":
        least = math.ceil(low) + ("exclusiveMinimum" in member)
        return min(max(least, chance.choice([0, 1, 2, 3, 5, 8, 30])), int(high))
    if high <= 1:
        return low + (high - low) * chance.choice([0.01, 0.1, 0.5, 0.9, 0.99])
    return min(max(low + 1e-3, 10 ** chance.uniform(-3, 3)), high)


def named_units(value):
    """A time that its field does not name a unit of says it itself."""
    times = {"value", "low", "high", "mean", "std", "median", "scale", "minimum", "values"}
    return {f"{key}_s" if key in times else key: inner for key, inner in value.items()}


def changed(node, schema, chance):
    """Change a random field of a section, or of one in it, to something that the schema allows."""
    (section, *_) = SCHEMA.sections(schema, node) or [None]
    if section is None:
        return
    open_fields = [key for key, field in section["properties"].items() if "const" not in field]
    if not open_fields:
        return
    key = chance.choice(open_fields)
    inner, there = section["properties"][key], node.get(key)
    if key in {"name", "limits"} and schema is SCHEMA.root:
        return
    if isinstance(there, dict) and SCHEMA.sections(inner, there) and chance.random() < 0.7:
        changed(there, inner, chance)
    elif isinstance(there, list) and there and isinstance(there[0], dict) and chance.random() < 0.5:
        changed(chance.choice(there), inner["items"], chance)
    elif isinstance(there, dict) and set(there) == set(MODALITIES) and chance.random() < 0.8:
        modality = chance.choice(MODALITIES)
        element = next(m["additionalProperties"] for m in SCHEMA.members(inner) if "additionalProperties" in m)
        if isinstance(there[modality], dict) and SCHEMA.sections(element, there[modality]) and chance.random() < 0.5:
            changed(there[modality], element, chance)
        else:
            there[modality] = generated(element, chance)
    else:
        node[key] = generated(inner, chance, key)


def deep(levels):
    value = 1
    for _ in range(levels):
        value = [value]
    return value


VALUES = [
    *(None, True, False, -1, 0, 1, 0.5, -0.0, 1e-3, -1e-3, 7, 1000),
    *(1e308, -1e308, 5e-324, 1e-300, 1e15, 1e-15, 10**30, -(10**30), 2**31, 2**32, 2**63, 2**64, 10**400),
    *(math.nan, math.inf, -math.inf),
    *("", " ", "x", "3", "1e3", "0x10", "true", "null", ".nan", "~", "-", "../x", "/etc/passwd", "a/b", "..", "a\\b"),
    *("x" * 300, "x" * 20_000, "é", "名前", "\u202e", "\ud800", "\x00", "a\nb", "[bold]", "{}", "%s", "😀" * 100),
    *([], {}, [1], [[1]], {"a": 1}, {1: 2}, {None: 1}, {"": 1}, [None] * 3, ["gray"] * 50, list(range(2_000))),
    *(deep(50), deep(95), {"distribution": "constant"}, {"distribution": []}, {"kind": {}}, b"x"),
]
"""What is put in the place of anything."""

TEXTS = [
    *("!!python/object/apply:os.system ['true']", "!!python/name:os.system", "!!binary aGk=", "!!set {a, b}"),
    *("!!omap [a: 1]", "!!pairs [a: 1]", "!!timestamp 2020-01-01", "!!str 3", "!!int '3'", "!!float nan", "!!null x"),
    *("!custom 3", "&a [*a]", "&a {a: *a}", "*nowhere", "2020-01-01", "2020-13-45", "1:30:00", "0o17", "0b1", "1_000"),
    *("[1, 2", "{a: 1, a: 2}", "'", '"\\ud800"', '"\\x"', "|\n  a", "\tx", "@", "`", "% x", "? x", "<<", "=", ": :"),
    *("{<<: {a: 1}}", "{<<: 3}", "{<<: [1]}", "{? [a] : 1}", "{? {a: 1} : 1}", "9" * 5_000, "[" * 2_000, "1e999"),
]
"""What is written in the place of anything, as YAML."""

FILES = [
    *(b"", b"\n\n", b"# nothing", b"\x00", b"\xff\xfe\x00", bytes(range(256)), b"\x89PNG\r\n\x1a\n", b"---\n---\n"),
    *(b"- a", b"a", b"3", b"\t", b"a: b: c", b"\xef\xbb\xbfname: x", b"x" * 2_000_000, b"[" * 100_000, b"- " * 5_000),
    b"a: &a [lol]\n" + b"".join(b"%c: &%c [%s*a]\n" % (c, c, b"*%c, " % (c - 1) * 9) for c in b"bcdefghij"),
]
"""Whole files that are no scenario."""


def broken(document, chance):
    """Return a scenario's text that is broken in one place."""
    path = chance.choice(list(places(document)))
    parent = document
    for step in path[:-1]:
        parent = parent[step]
    last = path[-1]
    kind = chance.choice(["value"] * 8 + ["text"] * 4 + ["drop", "rename", "twice", "file", "alien", "bomb", "cut"])
    match kind:
        case "value":
            parent[last] = chance.choice(VALUES)
        case "drop":
            del parent[last]
        case "rename" if isinstance(last, str):
            parent[chance.choice([f"{last}x", last[:-1], last.upper(), f"{last}.x", "", "é"])] = parent.pop(last)
        case "alien" if isinstance(parent, dict):
            key = chance.choice(["x", "", "variants", "sweep", "<<", "name", 3, True, "y" * 5_000])
            parent[key] = chance.choice(VALUES)
        case "file":
            return chance.choice(FILES)
        case "bomb":
            parent[last] = "PLACE"
            laughs = b"".join(b"b%d: &b%d [%s]\n" % (i, i, b", ".join([b"*b%d" % (i - 1)] * 10)) for i in range(1, 9))
            body = yaml.safe_dump(document, sort_keys=False).encode().replace(b"PLACE", b"*b8")
            return b"variants: {}\n" + b"b0: &b0 x\n" + laughs + body
        case _:
            parent[last] = "PLACE"
    text = yaml.safe_dump(document, sort_keys=False)
    if kind == "text":
        text = text.replace("PLACE", chance.choice(TEXTS), 1)
    elif kind == "twice":
        lines = text.splitlines()
        lines.insert(chance.randrange(len(lines)), chance.choice(lines))
        text = "\n".join(lines)
    elif kind == "cut":
        text = text[: chance.randrange(len(text))] + chance.choice(["", "\t", "\n\t- x", "\x07", "\n  }"])
    return text.encode("utf-8", "surrogatepass")


def example(scenario_with, number):
    """Return the text of a random scenario, and whether it is valid for all that the schema says."""
    chance = random.Random(number)
    base = BASE if chance.random() < 0.8 else {**BASE, "until": {"versions": chance.choice([1, 5])}}
    document = scenario_with(base)
    for _ in range(chance.choice([0, 1, 1, 2, 4])):
        changed(document, SCHEMA.root, chance)
    if number % 2:
        return broken(copy.deepcopy(document), chance)
    return yaml.safe_dump(document, sort_keys=False).encode()


def command(number, folder):
    """Return what is done with an example: most are run, some only checked."""
    if number % 8 in {0, 3}:
        return ["check", str(folder / "random.yaml"), *CPU]
    return ["run", str(folder / "random.yaml"), "--runs", str(folder / "runs"), "--timing-only", *CPU]


def assert_whole_or_refused(command, code, out, err, runs):
    """A whole record of every method, or one sentence and nothing written."""
    assert "Traceback" not in out + err
    if code == 0 and command == "check":
        assert "events" in out
        assert not runs.exists()
    elif code == 0:
        records = [RunRecord(path.parent) for path in runs.glob("*/*/run.json")]
        assert records
        for record in records:
            assert record.info["status"] == "complete"
            assert len(record.timeline) > 0
            assert set(record.metrics["metric"]) <= {"energy_j"}  # nothing was trained
            assert record.metrics["value"].between(0.0, math.inf, inclusive="left").all()
        assert (records[0].path.parent / "summary.csv").exists()
        assert json.loads(json.dumps(record.info, allow_nan=False))
        assert err == ""
    else:
        assert code == 2, err
        assert err.startswith("interlude: ")
        assert err.count("\n") == 1
        assert len(err) <= 400
        assert out == ""
        assert not runs.exists()


@pytest.fixture
def play(tmp_path, capsys, monkeypatch):
    """Return a function that plays an example, a scenario's text and arguments, and returns the exit code."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "values.csv").write_text("a,gray,device,on_s,off_s\n1,2,x,0,5\n3,4,y,1,6\n")

    def run(number, text, more=()):
        folder = tmp_path / "a" / "b" / "c" / str(number)  # deep: a path that leads out of it is seen
        folder.mkdir(parents=True)
        (folder / "random.yaml").write_bytes(text)
        before = set(tmp_path.rglob("*"))
        arguments = [*command(number, folder), *more]
        capsys.readouterr()
        try:
            with pytest.raises(SystemExit) as stopped:
                command_line.main(arguments)
            assert_whole_or_refused(arguments[0], stopped.value.code, *capsys.readouterr(), folder / "runs")
            written = set(tmp_path.rglob("*")) - before - {folder / "runs"}
            assert {path for path in written if folder / "runs" not in path.parents} == set()
        except BaseException as error:
            shown = text[:6_000].decode("utf-8", "backslashreplace")
            raise AssertionError(f"example {number}, FUZZ_SEED={FIRST_SEED}: {arguments}\n{shown}") from error
        shutil.rmtree(folder)
        return stopped.value.code

    return run


def numbers(batch, of):
    """Return the numbers of a batch's examples."""
    first = FIRST_SEED * 1_000_000
    return range(first + batch, first + of, BATCHES)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("batch", range(BATCHES))
def test_a_random_scenario_is_a_whole_run_or_one_sentence(batch, scenario_with, play):
    codes = {number: play(number, example(scenario_with, number)) for number in numbers(batch, NUM_EXAMPLES)}
    valid = [code for number, code in codes.items() if number % 2 == 0]
    assert len(valid) < 8 or valid.count(0) >= 0.5 * len(valid)  # else the fuzz tests nothing but refusals


@pytest.mark.timeout(300)
@pytest.mark.parametrize("batch", range(BATCHES))
def test_a_shipped_scenario_that_is_changed_is_a_whole_run_or_one_sentence(batch, play):
    documents = shipped()
    for number in numbers(batch, NUM_MUTATED):
        play(number, *mutated(documents, random.Random(number)))


@pytest.mark.timeout(300)
@pytest.mark.parametrize("number", [1, 2])
def test_a_random_scenario_in_a_process_of_its_own(number, scenario_with, tmp_path):
    (tmp_path / "random.yaml").write_bytes(example(scenario_with, number))
    done = subprocess.run(
        [sys.executable, "-m", "interlude.simulator.cli.main", *command(number, tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        timeout=120,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert_whole_or_refused(command(number, tmp_path)[0], done.returncode, done.stdout, done.stderr, tmp_path / "runs")
