"""The pages of a scenario's fields, from its JSON Schema: a table for every section and every alternative of one."""

from collections import Counter, deque
from collections.abc import Iterator, Mapping
from typing import Any

from field_types import DISTRIBUTION_NAMES, Schema, TypeWriter, default_of, references, tag_of
from markup import escaped, table

from interlude.simulator.scenario.schema import scenario_schema

_OWN_PAGES = ("world", "data", "methods")
"""Top-level fields that have a page of their own."""
_ABOUT = {
    "scenario": (
        "Fields of a scenario",
        "Every field of a scenario's YAML; [Scenarios](../../scenarios.md) says how files are read and laid over each "
        "other. [data](data.md), [world](world.md) and [methods](methods.md) have pages of their own.",
    ),
    "data": ("Fields of `data`", "What clients learn from: `dataset` chooses a table. See [Data](../../data.md)."),
    "world": ("Fields of `world`", "How long things take; [A world](../../world.md) shows the section in use."),
    "methods": (
        "Fields of `methods`",
        "An entry takes the options of every method, in the first table, and those of its own, on the method's page "
        "([Methods](../../methods.md)). Defaults differ between methods; their pages have them.",
    ),
}
_ABOUT_DISTRIBUTIONS = (
    "A quantity is a number or one of these, drawn over clients. Where the field that holds it names a unit "
    "(`uplink_mbps`), the parameters are in that unit; where it does not (`per_client`), parameters that are times say "
    "so: `median_s: 4`."
)


def field_pages() -> dict[str, str]:
    """Return the pages by name: the file with its small sections, and a page for each of data, world and methods."""
    schema = scenario_schema()
    definitions = schema["$defs"]
    file: dict[str, Any] = schema["else"]
    fields = file["properties"]
    common = _common([definitions[name] for name in references(fields["methods"])])
    roots: dict[str, dict[str, Schema]] = {
        "world": {"world": fields["world"]},
        "data": {"data": fields["data"]},
        "scenario": {name: field for name, field in fields.items() if name not in _OWN_PAGES},
        "methods": {"server": common["properties"]["server"], **dict(_servers(fields["methods"], definitions))},
    }
    found: dict[str, dict[str, str]] = {}
    places: dict[str, str] = {}
    for page, nodes in roots.items():
        found[page] = {name: path for name, path in _reached(nodes, definitions).items() if name not in places}
        places |= dict.fromkeys(found[page], page)
    paged = {name: {"$page": name, "description": fields[name].get("description", "")} for name in _OWN_PAGES}
    tops = {
        "scenario": ("The file", {**file, "properties": fields | paged}),
        "methods": ("Options of every method", common),
    }
    untagged = {name: path for paths in found.values() for name, path in paths.items() if not tag_of(definitions[name])}
    counts = Counter(untagged.values())
    twins = {name for name, path in untagged.items() if counts[path] > 1}
    pages = {}
    for page, paths in found.items():
        writer = TypeWriter(page, places, definitions, twins)
        title, about = _ABOUT[page]
        parts = [f"# {title}", about]
        if page in tops:
            parts += [f"## {tops[page][0]}", _fields(tops[page][1], writer)]
        for name, path in paths.items():
            if name not in DISTRIBUTION_NAMES:
                parts += _section(name, path, writer)
        if page == "world":
            parts += ["## Distributions", _ABOUT_DISTRIBUTIONS]
            for name in sorted(DISTRIBUTION_NAMES & paths.keys(), key=list(paths).index):
                parts += _section(name, "", writer)
        pages[page] = "\n\n".join(part for part in parts if part) + "\n"
    return pages


def _common(methods: list[Schema]) -> dict[str, Any]:
    """Return the options that every method has, without defaults, as these differ."""
    shared = set.intersection(*(set(method["properties"]) for method in methods))
    first = methods[0]["properties"]
    fields = {name: {k: v for k, v in first[name].items() if k != "default"} for name in first if name in shared}
    fields["name"] = {"type": "string", "description": "a method, or one of your own as `package.module:Class`"}
    fields["server"]["description"] = "when the server merges, and how"
    return {"properties": fields, "required": ["name"]}


def _servers(field: Schema, definitions: Mapping[str, Schema]) -> Iterator[tuple[str, Schema]]:
    """Yield the field `server` of every method by a name for it: some have rules of their own."""
    for name in references(field):
        properties = definitions[name]["properties"]
        yield f"server of {properties['name']['const']}", properties["server"]


def _reached(roots: Mapping[str, Schema], definitions: Mapping[str, Schema]) -> dict[str, str]:
    """Return every definition below some fields, nearest first, with the path of the first field that leads to it."""
    paths: dict[str, str] = {}
    left = deque(roots.items())
    while left:
        path, node = left.popleft()
        for name in references(node):
            if name not in paths:
                paths[name] = path
                left += ((f"{path}.{key}", field) for key, field in definitions[name].get("properties", {}).items())
    return paths


def _section(name: str, path: str, writer: TypeWriter) -> list[str]:
    """Return a definition's heading, which its name in small letters leads to, its description and its table."""
    section = writer.definitions[name]
    rule, _, method = path.partition(" of ")
    title = f"`{': '.join(filter(None, (rule, writer.told_apart(name))))}`" + (f" of {method}" if method else "")
    level = "##" if path else "###"
    return [f"{level} {title} {{ #{name.lower()} }}", escaped(section.get("description", "")), _fields(section, writer)]


def _fields(section: Schema, writer: TypeWriter) -> str:
    tag = tag_of(section)
    rows = [
        [f"`{name}`", writer.words(field), default_of(name, section), escaped(writer.meaning(field))]
        for name, field in section["properties"].items()
        if tag is None or name != tag[0]
    ]
    return table(["field", "takes", "default", "meaning"], rows) if rows else "No other fields."
