"""Turns pydantic's validation errors into one clear sentence: the field, the given value, the allowed values."""

import reprlib
import types
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, Tag, ValidationError
from pydantic_core import ErrorDetails

from interlude.simulator.errors import nearest, one_line

Location = tuple[int | str, ...]


def sentence(error: ValidationError, model: type[BaseModel], given: Any, where: Sequence[str] = ()) -> str:
    """Return a sentence about the first error.

    Args:
        error: pydantic's errors.
        model: the model that was validated.
        given: the data that was validated.
        where: path of `given` in the whole document.
    """
    details = _most_telling(error.errors(), given)
    location, context = details["loc"], details.get("ctx", {})
    own = location[:-1] if details["type"] == "value_error" and location[-1:] == (_tag(details["input"]),) else location
    field = ".".join(map(_cut, [*where, *_path(own, given)])) or "scenario"
    shown = _shown(details["input"])
    match details["type"]:
        case "missing":
            return f"{field} is missing"
        case "extra_forbidden":
            key, known = str(location[-1]), _known_keys(model, location[:-1])
            listed = f"; known here are {', '.join(known)}" if known else ""
            return f"{field}: unknown key '{_cut(key)}'{listed}{nearest(key, known)}"
        case "union_tag_invalid":
            tag, known = _cut(str(context["tag"])), _names(context["expected_tags"])
            return f"{field}: unknown {_key(context)} '{tag}'; known are {', '.join(known)}{nearest(tag, known)}"
        case "union_tag_not_found":
            return f"{field}: must be a mapping with the key '{_key(context)}'; given {shown}"
        case "literal_error":
            known = _names(str(context["expected"]).replace(" or ", ","))
            allowed = f"one of {', '.join(known)}" if len(known) > 1 else f"'{known[0]}'"
            return f"{field}: must be {allowed}; given {shown}{nearest(_bare(shown), known)}"
        case "model_type" | "dict_type" | "model_attributes_type":
            return f"{field}: must be a mapping of keys to values; given {shown}"
        case "value_error":
            return f"{field}: {one_line(context['error'])}; given {shown}"
        case _:
            message = details["msg"].removeprefix("Input ")
            return f"{field}: {message[0].lower()}{message[1:]}; given {shown}"


def _most_telling(errors: list[ErrorDetails], given: Any) -> ErrorDetails:
    """Return the error to report: the deepest in the first one's section, and a typo before the field it left out."""
    first = errors[0]
    at_same_field = [e for e in errors if e["loc"][:1] == first["loc"][:1]]
    telling = max(at_same_field, key=lambda e: len(_path(e["loc"], given)))
    if telling["type"] == "missing":
        parent = telling["loc"][:-1]
        typos = [e for e in errors if e["type"] == "extra_forbidden" and e["loc"][:-1] == parent]
        return typos[0] if typos else telling
    return telling


def _path(location: Location, given: Any) -> list[str]:
    """Return the steps of a location that exist in the document; pydantic adds the names of union members."""
    path = []
    node = given
    for i, step in enumerate(location):
        if isinstance(node, Mapping):
            key = next((k for k in (step, f"{step}_s") if k in node), None)
            if key is not None:
                path.append(str(key))
                node = node[key]
            elif i == len(location) - 1 and "[" not in str(step):  # missing; a union member would be spelt with one
                path.append(str(step))
        elif isinstance(node, Sequence) and isinstance(step, int) and step < len(node):
            path.append(str(step))
            node = node[step]
    return path


def _tag(given: Any) -> Any:
    """Return the name of the union member that a mapping chose: pydantic ends the location of its errors with it."""
    return given.get("distribution", given.get("kind")) if isinstance(given, Mapping) else None


def _known_keys(annotation: Any, location: Location) -> list[str]:
    """Return the keys of the model that a location leads to, walking through unions, mappings and lists."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        fields = annotation.model_fields
        if not location:
            return list(fields)
        return _known_keys(fields[str(location[0])].annotation, location[1:]) if location[0] in fields else []
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _known_keys(arguments[0], location)
    if origin in (Union, types.UnionType):
        for member in arguments:
            keys = _known_keys(member, location[1:]) if location and location[0] in _tags(member) else []
            if keys or (keys := _known_keys(member, location)):
                return keys
        return []
    if origin in (dict, list, tuple) and location:
        element = arguments[1] if origin is dict else arguments[0]
        return _known_keys(element, location[1:])
    return []


def _tags(member: Any) -> set[Any]:
    """Return what distinguishes a union member from the others: a tag, or the values of its literals."""
    if get_origin(member) is Annotated:
        member, *notes = get_args(member)
        if tags := {note.tag for note in notes if isinstance(note, Tag)}:
            return tags
    fields = getattr(member, "model_fields", {}).values()
    return {tag for field in fields if get_origin(field.annotation) is Literal for tag in get_args(field.annotation)}


def _key(context: Mapping[str, Any]) -> str:
    """Return the key that distinguishes union members; a function that finds it is named after it."""
    return _bare(str(context["discriminator"]).removesuffix("_of()"))


def _names(listed: str) -> list[str]:
    return [_bare(name) for name in str(listed).split(",")]


def _bare(text: object) -> str:
    return str(text).strip(" '\"()")


def _shown(given: Any) -> str:
    """Return the given value, shortened; `reprlib` never walks a large structure to its end."""
    return _cut(reprlib.repr(given))


def _cut(text: str) -> str:
    text = one_line(text[:80])
    return text if len(text) <= 60 else f"{text[:57]}..."
