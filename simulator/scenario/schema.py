"""The JSON Schema of a scenario YAML: what an editor completes, explains and underlines.

It is pydantic's, of every section, method and data set, with what the reader of the file adds: ``extends``,
``variants``, ``sweep`` and ``tune``, and entries that say only what differs from a default. It may let pass what the
reader refuses (bounds between two fields, names of modalities), never the other way round.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from interlude.simulator.data import DATASETS, OWN
from interlude.simulator.methods import METHODS
from interlude.simulator.methods.base import Method
from interlude.simulator.scenario.outline import Outline
from interlude.simulator.scenario.registry import method_class
from interlude.simulator.scenario.sections import TuneSpec
from interlude.simulator.training.spec import TrainingSpec

Schema = dict[str, Any]

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_REF = "#/$defs/"
_PART = "-part"
"""Ends the name of a definition none of whose fields is required: what lies over something else."""
_OWN_FUNCTION = "package.module:function"
_OF_THE_FILE: Schema = {
    "extends": {
        "type": "string",
        "description": "another scenario, relative to this file; what is said here is laid over it, section by section",
    },
    "variants": {
        "description": "sets of changes by name, each a scenario of its own: fields with dots and their values",
        "type": ["object", "null"],
        "additionalProperties": {"type": "object"},
    },
    "sweep": {
        "description": "lists of values by field with dots, every one with every one of the others; see also zip",
        "type": ["object", "null"],
    },
}


def scenario_schema(own_methods: Sequence[str] = ()) -> Schema:
    """Return the JSON Schema of a scenario YAML.

    Args:
        own_methods: methods of a user's own, ``package.module:Class``, whose options are to be known, too.

    Raises:
        BadInputError: if one of them cannot be imported or is no method.
    """
    methods = {name: method_class(name) for name in (*METHODS, *own_methods)}
    sources = {name: source.options for table in (DATASETS, OWN) for name, source in table.items()}
    models: list[type[BaseModel]] = [Outline, TuneSpec, TrainingSpec]
    models += [method.Options for method in methods.values()] + list(sources.values())
    unique = list(dict.fromkeys(models))
    places, whole = models_json_schema([(model, "validation") for model in unique], ref_template=_REF + "{model}")
    named = {model: places[(model, "validation")]["$ref"].removeprefix(_REF) for model in unique}
    definitions: Schema = {name: _tidied(node) for name, node in whole["$defs"].items()}
    parts = {f"{name}{_PART}": _as_part(node) for name, node in definitions.items()}
    for name, method in methods.items():
        _describe_entry(definitions[named[method.Options]], name, method)
    for name, options in sources.items():
        _tag(definitions[named[options]], "dataset", name if name != _OWN_FUNCTION else None)
    outline = definitions.pop(named[Outline])
    partial = parts.pop(f"{named[Outline]}{_PART}")
    entries = [{"$ref": _REF + named[method.Options]} for method in methods.values()]
    shared = {
        **_OF_THE_FILE,
        "tune": {"anyOf": [{"$ref": _REF + named[TuneSpec]}, {"type": "null"}]},
        "methods": {
            "type": "array",
            "minItems": 1,
            "items": {"oneOf": [*entries, _own_entry(own_methods)]},
            "description": "compared side by side on the same world",
        },
    }
    data: Schema = {"oneOf": [{"$ref": _REF + named[options]} for options in sources.values()]}
    datas = [{"$ref": f"{_REF}{named[options]}{_PART}"} for options in sources.values()]
    part: Schema = {
        "properties": partial["properties"] | shared | {"data": {"anyOf": datas}},
        "patternProperties": {r"^\w+\.": {}},
    }
    full: Schema = {"properties": outline["properties"] | shared | {"data": data}, "required": outline["required"]}
    return {
        "$schema": _DIALECT,
        "title": "Interlude scenario",
        "type": "object",
        "if": {"required": ["extends"]},
        "then": {**part, "additionalProperties": False},
        "else": {**full, "additionalProperties": False},
        "$defs": dict(sorted(_reached(definitions | parts, [part, full]).items())),
    }


def _tidied(node: Any) -> Any:
    """Return a schema without titles made of names, alternatives as any of them, and texts as they are read."""
    if isinstance(node, list):
        return [_tidied(child) for child in node]
    if not isinstance(node, dict):
        return node
    tidied = {}
    for key, child in node.items():
        if key == "properties":
            tidied[key] = {name: _tidied(field) for name, field in child.items()}
        elif key in ("default", "const", "enum"):
            tidied[key] = child
        elif key == "description":
            tidied[key] = child.replace("``", "`")
        elif key not in ("title", "discriminator"):  # tags may be left out where they have a default
            tidied["anyOf" if key == "oneOf" else key] = _tidied(child)
    return tidied


def _as_part(node: Any) -> Any:
    """Return a schema none of whose fields is required, to any depth."""
    if isinstance(node, list):
        return [_as_part(child) for child in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        return {**node, "$ref": node["$ref"] + _PART}
    return {
        key: {name: _as_part(field) for name, field in child.items()} if key == "properties" else _as_part(child)
        for key, child in node.items()
        if key not in ("required", "default")
    }


def _describe_entry(entry: Schema, name: str, method: type[Method]) -> None:
    """Make a method's options its entry in a scenario: its name, its server rule and training as parts."""
    _tag(entry, "name", name)
    entry["description"] = (method.__doc__ or "").partition("\n")[0]
    fields = entry["properties"]
    fields["training"] = {
        "anyOf": [{"$ref": f"{_REF}TrainingSpec{_PART}"}, {"type": "null"}],
        "description": fields["training"].get("description", ""),
    }
    default = method.Options.model_fields["server"].default
    if isinstance(default, BaseModel):
        fields["server"] = {
            "anyOf": [*_alternatives(fields["server"]), {"$ref": f"{_REF}{type(default).__name__}{_PART}"}],
            **{key: value for key, value in fields["server"].items() if key in ("description", "default")},
        }
    entry["required"] = sorted({*entry.get("required", []), "name"})


def _alternatives(field: Mapping[str, Any]) -> list[Any]:
    return list(field["anyOf"]) if "anyOf" in field else [{"$ref": field["$ref"]}]


def _tag(entry: Schema, field: str, name: str | None) -> None:
    """Let a field tell an entry from the others: by its value, or by the form of a name of a user's own."""
    said = entry["properties"][field].get("description")
    entry["properties"][field] = {
        **({"const": name} if name is not None else {"type": "string", "pattern": r"^[^:]+:[^:]+$"}),
        **({"description": said} if said else {}),
    }
    entry["required"] = sorted({*entry.get("required", []), field})


def _own_entry(known: Sequence[str]) -> Schema:
    """Return the schema of a method of a user's own whose options are not known."""
    name: Schema = {"type": "string", "pattern": r"^[^:]+:[^:]+$"}
    if known:
        name["not"] = {"enum": sorted(known)}
    return {
        "type": "object",
        "description": "a method of your own; 'interlude schema --with NAME' makes its options known",
        "properties": {"name": {**name, "description": "package.module:Class"}},
        "required": ["name"],
    }


def _reached(definitions: Mapping[str, Any], roots: Sequence[Any]) -> Schema:
    """Return the definitions that something refers to."""
    found: Schema = {}
    left = list(roots)
    while left:
        node = left.pop()
        if isinstance(node, list):
            left += node
        elif isinstance(node, dict):
            left += node.values()
            name = str(node.get("$ref", "")).removeprefix(_REF)
            if name in definitions and name not in found:
                found[name] = definitions[name]
                left.append(found[name])
    return found
