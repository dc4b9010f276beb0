"""Changes of shipped scenarios that respect their structure: of types, places, bytes and the command's arguments."""

import copy
import math
from pathlib import Path

import yaml

from interlude.simulator.formats.core_yaml import load

SCENARIOS = Path(__file__).parents[2] / "scenarios"
READ_FILES = {"phones.yaml", "har_subjects.yaml"}
"""Scenarios whose data or traces are files of the user's."""

SMALL = {"until": {"simulated_s": 20}, "evaluate": {"every_s": 10}, "limits": {"events": 3_000}}
"""Makes a shipped scenario a short run; its `variants` and `sweep` stay as they are."""

ARGUMENTS = [
    *(["--seed", text] for text in ("0", "010", "9" * 18, "9" * 30, "-1", "x", "1e3")),
    *(["--checkpoint-every", text] for text in ("0", "1e-9", "1e300", "nan")),
    *(["--workers", text] for text in ("1", "0", "1e9")),
    *(["--device", text] for text in ("cuda:99", "", "cpu ", "\udcff")),
    *(["--resume"], ["--overwrite"], ["--force"], ["--resume", "--overwrite"], ["--seed"], ["--set"], ["\0"], ["x"]),
]
"""What is added to a command."""


def shipped():
    """Return the shipped scenarios that need no files, as plain data, each with its own methods."""
    paths = [path for path in sorted(SCENARIOS.glob("*.yaml")) if path.name not in READ_FILES]
    return [load(path.read_text(encoding="utf-8")) | copy.deepcopy(SMALL) for path in paths]


def small(document, chance):
    """Cut a shipped scenario down to few methods, variants and clients, in place."""
    document["clients"]["count"] = chance.choice([2, 3, 5])
    document["model"]["width"] = 4
    document["methods"] = chance.sample(document["methods"], min(2, len(document["methods"])))
    if "variants" in document:
        kept = chance.sample(sorted(document["variants"]), min(2, len(document["variants"])))
        document["variants"] = {
            name: {field: value for field, value in changes.items() if field.partition(".")[0] not in SMALL}
            for name, changes in document["variants"].items()
            if name in kept
        }
    if "sweep" in document and chance.random() < 0.9:
        del document["sweep"]


def places(node, path=()):
    """Yield the paths of all values of a document."""
    if path:
        yield path
    for key, child in node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ():
        yield from places(child, (*path, key))


def at(document, path):
    """Return the value at a path."""
    for step in path:
        document = document[step]
    return document


def retyped(value, chance):
    """Return a value as another type says it."""
    children = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
    ways = [[value], str(value), {"value": value}, bool(value), None, [value, value]]
    if isinstance(value, dict):
        ways += [list(value), list(value.items()), children, [{key: child} for key, child in value.items()]]
    if children:
        ways += [chance.choice(children), children[:1], children[::-1], dict(enumerate(children)), len(children)]
    if isinstance(value, str):
        ways += [
            value.upper(),
            f" {value}",
            f"{value}\n",
            value[::-1],
            list(value),
            value * 50,
            value.replace("e", "é"),
        ]
    return chance.choice(ways)


def scaled(number, chance):
    """Return a number of another size, sign or type."""
    if not math.isfinite(number):
        return 0
    factor = chance.choice([0, -1, 0.5, 2, 10, 1e3, 1e6, 1e9, 1e-3, 1e-9, 1e30, 1e-30])
    changed = number * factor
    return chance.choice([changed, int(changed), float(changed), number + 1, number - 1, str(number), bool(number)])


def mutate(document, chance):
    """Change a document in one place, in place."""
    path = chance.choice(list(places(document)))
    parent, last = at(document, path[:-1]), path[-1]
    value = parent[last]
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    match chance.choice(["scale"] * 8 + ["retype"] * 3 + ["graft"] * 2 + ["swap", "drop", "repeat", "rename"]):
        case "scale" if is_number:
            parent[last] = scaled(value, chance)
        case "graft":
            parent[last] = copy.deepcopy(at(document, chance.choice(list(places(document)))))
        case "swap":
            siblings = list(parent) if isinstance(parent, dict) else range(len(parent))
            other = chance.choice(list(siblings))
            parent[last], parent[other] = parent[other], parent[last]
        case "drop":
            del parent[last]
        case "repeat" if isinstance(parent, list):
            parent.extend(copy.deepcopy(parent))
        case "rename" if isinstance(parent, dict):
            keys = [step for place in places(document) for step in place if isinstance(step, str)]
            parent[chance.choice(keys)] = parent.pop(last)
        case _:
            parent[last] = retyped(value, chance)


def garbled(text, chance):
    """Return bytes of a text of which a few are changed."""
    given = bytearray(text)
    for _ in range(chance.choice([1, 1, 2, 5])):
        where = chance.randrange(len(given))
        match chance.choice(["flip", "insert", "cut", "double"]):
            case "flip":
                given[where] = chance.randrange(256)
            case "insert":
                given[where:where] = chance.choice(
                    [b"\n", b"\t", b": ", b"- ", b"#", b"'", b"{", b"]", b"\0", b"&a ", b"9"]
                )
            case "cut":
                del given[where : where + chance.choice([1, 1, 10])]
            case "double":
                given[where:where] = given[where : where + chance.choice([1, 10, 100])]
    return bytes(given)


def override_of(document, chance):
    """Return an argument that sets a field of a document to a value from elsewhere in it."""
    field = ".".join(map(str, chance.choice(list(places(document)))))
    value = at(document, chance.choice(list(places(document))))
    shown = (
        yaml.safe_dump(value, default_flow_style=True).strip().removesuffix("\n...") if chance.random() < 0.8 else ""
    )
    return ["--set", f"{field}={shown}"]


def mutated(documents, chance):
    """Return the text of a shipped scenario that is changed in a few places, and arguments of its command."""
    document = copy.deepcopy(chance.choice(documents))
    small(document, chance)
    for _ in range(chance.choice([0, 1, 1, 1, 2])):
        mutate(document, chance)
        if not document:
            break
    arguments = list(chance.choice(ARGUMENTS)) if chance.random() < 0.15 else []
    if document and chance.random() < 0.2:
        arguments += override_of(document, chance)
    text = yaml.safe_dump(document, sort_keys=False, allow_unicode=True).encode("utf-8", "surrogatepass")
    return garbled(text, chance) if chance.random() < 0.2 else text, arguments
