"""What a field of the JSON Schema takes, in words, with links to the tables of what it refers to."""

import json
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from typing import Any

from markup import escaped

from interlude.simulator.world.distributions import DISTRIBUTIONS

Schema = Mapping[str, Any]

TAGS = ("dataset", "kind", "distribution", "rule", "function")
"""Fields whose value tells the alternatives of a section apart."""
DISTRIBUTION_NAMES = frozenset(distribution.__name__ for distribution in DISTRIBUTIONS.values())
"""The definitions of the distributions that any quantity may have."""
_OWN_CODE = "package.module:name"
_SIGNS = {"exclusiveMinimum": ">", "minimum": ">=", "exclusiveMaximum": "<", "maximum": "<="}
_WORDS = {"integer": "integer", "number": "number", "string": "text", "boolean": "`true`, `false`"}


def name_of(node: Schema) -> str:
    """Return the definition that a node refers to; a part of one, in which nothing is required, is the same table."""
    return str(node.get("$ref", "")).removeprefix("#/$defs/").removesuffix("-part")


def alternatives(node: Schema) -> Iterator[Schema]:
    """Yield what a node may be, null left out."""
    for choice in node.get("anyOf", node.get("oneOf", [node])):
        if choice is not node:
            yield from alternatives(choice)
        elif choice.get("type") != "null":
            yield choice


def references(node: Schema) -> Iterator[str]:
    """Yield the definitions that a field refers to, in its order."""
    if name := name_of(node):
        yield name
    for key in ("anyOf", "oneOf", "prefixItems"):
        for child in node.get(key, []):
            yield from references(child)
    for key in ("items", "additionalProperties"):
        if isinstance(node.get(key), dict):
            yield from references(node[key])
    for child in node.get("properties", {}).values():
        yield from references(child)


def tag_of(section: Schema) -> tuple[str, str] | None:
    """Return the field, and its value, by which a section is told from its alternatives."""
    for tag in TAGS:
        field = section.get("properties", {}).get(tag, {})
        if "const" in field:
            return tag, field["const"]
        if _is_of_own_code(field):
            return tag, _OWN_CODE
    return None


def _is_of_own_code(node: Schema) -> bool:
    return ":" in node.get("pattern", "")


def default_of(name: str, section: Schema) -> str:
    """Return a field's default as Markdown."""
    field = section["properties"][name]
    if name in section.get("required", []):
        return "**required**"
    if "default" not in field:
        return ""
    return "unset" if field["default"] is None else f"`{_flow(field['default'])}`"


@dataclass(frozen=True)
class TypeWriter:
    """Writes types on a page.

    Args:
        page: the page's name.
        places: the page on which each definition has its table.
        definitions: all definitions by name.
        twins: definitions that stand at the same place of a scenario and have no tag.
    """

    page: str
    places: Mapping[str, str]
    definitions: Mapping[str, Schema]
    twins: Set[str]

    def told_apart(self, name: str) -> str:
        """Return what a definition is told from its alternatives by, as YAML; nothing if it has none."""
        section = self.definitions[name]
        if tag := tag_of(section):
            return f"{{{tag[0]}: {tag[1]}}}"
        first = next(iter(section.get("required", section["properties"])))
        return f"{{{first}: ...}}" if name in self.twins else ""

    def words(self, node: Schema) -> str:
        """Return what a node may be, as Markdown."""
        said = [self._one(choice) for choice in alternatives(node)]
        return " or ".join(dict.fromkeys(said))

    def meaning(self, field: Schema) -> str:
        """Return a field's description, else the first line of the only section that it can be."""
        names = list(references(field))
        section = self.definitions[names[0]] if len(names) == 1 else {}
        return str(field.get("description") or section.get("description", "").partition("\n")[0])

    def _one(self, node: Schema) -> str:
        if name := name_of(node):
            return self._link(name)
        if "$page" in node:
            return f"[its fields]({node['$page']}.md)"
        if "const" in node:
            return f"`{node['const']}`"
        if "enum" in node:
            return ", ".join(f"`{value}`" for value in node["enum"])
        if "properties" in node:
            return f"`{_shape(node)}`"
        kind = node.get("type", "")
        kind = kind[0] if isinstance(kind, list) else kind
        if kind == "array":
            if "prefixItems" in node:
                return "[" + ", ".join(self.words(item) for item in node["prefixItems"]) + "]"
            return f"list of ({self.words(node['items'])})" if "items" in node else "list"
        if kind == "object":
            inner = node.get("additionalProperties")
            return f"mapping to ({self.words(inner)})" if isinstance(inner, dict) and inner else "mapping"
        if _is_of_own_code(node):
            return f"`{_OWN_CODE}`"
        if node.get("format") == "path":
            return "path"
        bounds = ", ".join(f"{sign} {_flow(node[key])}" for key, sign in _SIGNS.items() if key in node)
        return escaped(f"{_WORDS.get(kind, 'anything')} {bounds}".strip())

    def _link(self, name: str) -> str:
        if name in DISTRIBUTION_NAMES:
            return f"[distribution]({self._page('world')}#distributions)"
        told_apart = self.told_apart(name)
        return f"[{f'`{told_apart}`' if told_apart else 'section'}]({self._page(self.places[name])}#{name.lower()})"

    def _page(self, page: str) -> str:
        return "" if page == self.page else f"{page}.md"


def _shape(node: Schema) -> str:
    """Return an alternative that has no table of its own as YAML: its tag with its value, and the other fields."""
    fields = [f"{name}: {field['const']}" if "const" in field else name for name, field in node["properties"].items()]
    return "{" + ", ".join(fields) + "}"


def _flow(value: Any) -> str:
    """Return a value as YAML on one line, without what is unset."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_flow(item)}" for key, item in value.items() if item is not None) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow, value)) + "]"
    return value if isinstance(value, str) else json.dumps(value)
