"""Types as they travel: the JSON Schema of an annotation, a value read from JSON, and a value as JSON.

Understood: None, bool, int, float, str, Any, list[T], dict[str, T], unions, Literal, enums, dataclasses, and
Annotated[T, "what it is"].
"""

import dataclasses
import enum
import types
import typing
from typing import Any, Literal, Union

_PLAIN = {type(None): "null", bool: "boolean", int: "integer", float: "number", str: "string"}


class Misfit(Exception):
    """A value that does not fit: where, as a JSON pointer, and why."""

    def __init__(self, path: str, why: str) -> None:
        super().__init__(why)
        self.path = path


def schema(kind: Any) -> Any:
    """The JSON Schema of a type. A type that is not understood is a mistake of the author, told when building."""
    if kind is Any:
        return True
    if kind is None:
        kind = type(None)
    if kind in _PLAIN:
        return {"type": _PLAIN[kind]}
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        return _described(schema(args[0]), args[1:])
    if origin in (Union, types.UnionType):
        return {"anyOf": [schema(arg) for arg in args]}
    if origin is Literal:
        return {"enum": list(args)}
    if kind is list or origin is list:
        return {"type": "array", "items": schema(args[0]) if args else True}
    if kind is dict or (origin is dict and args[0] is str):
        return {"type": "object", "additionalProperties": schema(args[1]) if args else True}
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return {"enum": [member.value for member in kind]}
    if dataclasses.is_dataclass(kind):
        described = {"description": kind.__doc__} if _has_doc(kind) else {}
        return described | fields_schema(_fields(kind), closed=False)
    raise TypeError(f"{kind!r} has no JSON Schema that hostler_guest knows")


def fields_schema(fields: dict[str, tuple[Any, bool]], closed: bool) -> dict[str, Any]:
    """The schema of an object with these fields: name to type and whether it must be there."""
    made: dict[str, Any] = {
        "type": "object",
        "properties": {name: schema(kind) for name, (kind, _) in fields.items()},
        "required": [name for name, (_, required) in fields.items() if required],
    }
    return made | {"additionalProperties": False} if closed else made


def read(kind: Any, value: Any, path: str = "") -> Any:
    """A value of this type from parsed JSON. Raises `Misfit`."""
    if kind is Any:
        return value
    if kind is None:
        kind = type(None)
    if kind in _PLAIN:
        return _read_plain(kind, value, path)
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        return read(args[0], value, path)
    if origin in (Union, types.UnionType):
        return _read_union(args, value, path)
    if origin is Literal:
        if any(value == arg and type(value) is type(arg) for arg in args):
            return value
        raise Misfit(path, f"it is none of {list(args)}")
    if kind is list or origin is list:
        _expect(list, value, path)
        item = args[0] if args else Any
        return [read(item, one, f"{path}/{at}") for at, one in enumerate(value)]
    if kind is dict or origin is dict:
        _expect(dict, value, path)
        item = args[1] if args else Any
        return {name: read(item, one, f"{path}/{name}") for name, one in value.items()}
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        try:
            return kind(value)
        except ValueError:
            raise Misfit(path, f"it is none of {[member.value for member in kind]}") from None
    _expect(dict, value, path)
    known = _fields(kind)
    return kind(**read_fields(known, {name: one for name, one in value.items() if name in known}, path))


def read_fields(fields: dict[str, tuple[Any, bool]], value: Any, path: str = "") -> dict[str, Any]:
    """The fields of an object that has no others."""
    _expect(dict, value, path)
    for name, (_, required) in fields.items():
        if required and name not in value:
            raise Misfit(path, f'"{name}" is missing')
    made = {}
    for name, one in value.items():
        if name not in fields:
            raise Misfit(f"{path}/{name}", "nothing is allowed here")
        made[name] = read(fields[name][0], one, f"{path}/{name}")
    return made


def write(value: Any) -> Any:
    """What `json.dumps` does not know by itself; for its `default`."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, enum.Enum):
        return value.value
    raise TypeError(f"a {type(value).__name__} cannot be JSON")


def _read_plain(kind: type, value: Any, path: str) -> Any:
    if kind is float and type(value) is int:
        return float(value)
    if kind is int and type(value) is float and value.is_integer():
        return int(value)
    _expect(kind, value, path)
    return value


def _read_union(kinds: tuple[Any, ...], value: Any, path: str) -> Any:
    wrong = []
    for kind in kinds:
        try:
            return read(kind, value, path)
        except Misfit as misfit:
            wrong.append(misfit)
    # The one that got furthest is most likely what was meant.
    raise max(wrong, key=lambda misfit: len(misfit.path))


def _expect(kind: type, value: Any, path: str) -> None:
    if type(value) is not kind:
        names = _PLAIN | {list: "array", dict: "object"}
        raise Misfit(path, f"it is {names.get(type(value), type(value).__name__)} and not {names[kind]}")


def _fields(kind: Any) -> dict[str, tuple[Any, bool]]:
    hints = typing.get_type_hints(kind, include_extras=True)
    missing = dataclasses.MISSING
    return {
        field.name: (hints[field.name], field.default is missing and field.default_factory is missing)
        for field in dataclasses.fields(kind)
        if field.init
    }


def _has_doc(kind: Any) -> bool:
    # A dataclass without a text of its own gets its signature for one.
    return bool(kind.__doc__) and not kind.__doc__.startswith(f"{kind.__name__}(")


def _described(made: Any, notes: tuple[Any, ...]) -> Any:
    words = [note for note in notes if isinstance(note, str)]
    return made | {"description": words[0]} if words and isinstance(made, dict) else made
