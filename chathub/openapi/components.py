"""JSON Schemas of the types of requests and responses, with those of the structs as components.

msgspec's own schemas cannot be used: they refuse unions of structs that have no tag, which are never decoded
here.
"""

import re
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec
from msgspec import NODEFAULT, UNSET, Meta, Raw, Struct, UnsetType, structs

from chathub.openapi.bodies.base import Open
from chathub.openapi.fields import description_of
from chathub.schemas.json import JsonObject
from chathub.sentences import Reason
from chathub.sentences.tables import ERRORS

PLACE = "#/components/schemas/"
_SIMPLE: dict[Any, JsonObject] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    NoneType: {"type": "null"},
    Any: {},
    Raw: {},
}
# a constraint of msgspec, and its keyword for numbers, texts and lists
_BOUNDS = {"ge": "minimum", "le": "maximum", "gt": "exclusiveMinimum", "lt": "exclusiveMaximum"}
_LENGTHS = {"string": ("minLength", "maxLength"), "array": ("minItems", "maxItems")}
_ERROR_CODE: JsonObject = {
    "title": "ErrorCode",
    "description": "What a program tells errors apart by. A code never changes; new ones may be added.",
    "type": "string",
    "enum": sorted(ERRORS),
}


class Components:
    """Gives the schema of a type, and collects those of the structs in it in ``schemas``.

    ``are_responses``: they are those of responses, where a field with a default is always there.
    """

    def __init__(self, *, are_responses: bool) -> None:
        self.schemas: dict[str, JsonObject] = {"ErrorCode": _ERROR_CODE} if are_responses else {}
        self._kinds: dict[str, type[Struct]] = {}
        self._are_responses = are_responses

    def schema_of(self, kind: Any) -> JsonObject:
        """The schema of a type; that of a struct is a reference.

        Raises:
            TypeError: there is none for such a type.
        """
        if kind in _SIMPLE:
            return dict(_SIMPLE[kind])
        if isinstance(kind, type) and issubclass(kind, Struct):
            return self._reference(kind)
        origin, args = get_origin(kind), get_args(kind)
        if origin is Annotated:
            return self._constrained(args[0], args[1:])
        if origin in (Union, UnionType):
            return self._union(args)
        if origin is Literal:
            return {"const": args[0]} if len(args) == 1 else {"type": _type_of(args), "enum": list(args)}
        if origin is list:
            return {"type": "array", "items": self.schema_of(args[0])}
        if origin is dict:
            inner = self.schema_of(args[1])
            return {"type": "object", "additionalProperties": inner} if inner else {"type": "object"}
        raise TypeError(f"there is no schema for {kind}")

    def fields_of(self, kind: type[Struct]) -> dict[str, tuple[JsonObject, bool]]:
        """The fields of a struct, with the schema of each and whether it must be there."""
        found = {}
        if (config := kind.__struct_config__).tag is not None:
            found[str(config.tag_field)] = ({"const": config.tag}, True)
        for field in structs.fields(kind):
            schema = self._field(kind, field)
            found[field.encode_name] = (schema, field.required or self._is_always_there(kind, field))
        return found

    def _field(self, kind: type[Struct], field: structs.FieldInfo) -> JsonObject:
        if field.name == "code" and kind.__name__ in ("Error", "ErrorEvent", "ModelHealth"):
            return {"$ref": f"{PLACE}ErrorCode"}
        schema = self.schema_of(field.type)
        if (
            not self._are_responses
            and field.default not in (NODEFAULT, UNSET, None)
            and "const" not in schema
        ):
            schema["default"] = msgspec.to_builtins(field.default)
        if text := description_of(kind.__name__, field.name):
            schema["description"] = text
        return schema

    def _is_always_there(self, kind: type[Struct], field: structs.FieldInfo) -> bool:
        if not self._are_responses or kind.__struct_config__.omit_defaults:
            return False
        return field.default is not UNSET and field.default_factory is NODEFAULT

    def _reference(self, kind: type[Struct]) -> JsonObject:
        name = kind.__name__
        if self._kinds.setdefault(name, kind) is not kind:
            raise TypeError(f"two structs have the name {name}")
        if name not in self.schemas:
            # its place is taken first: a struct may contain itself
            schema: JsonObject = {
                "title": name,
                "description": plain(kind.__doc__),
                "type": "object",
            }
            self.schemas[name] = schema
            fields = self.fields_of(kind)
            schema["properties"] = {field: inner for field, (inner, _) in fields.items()}
            if required := [field for field, (_, is_required) in fields.items() if is_required]:
                schema["required"] = required
            if issubclass(kind, Open):
                schema["additionalProperties"] = True
        return {"$ref": PLACE + name}

    def _constrained(self, kind: Any, rules: tuple[Any, ...]) -> JsonObject:
        schema = self.schema_of(kind)
        for rule in rules:
            if isinstance(rule, Meta):
                for name, keyword in _BOUNDS.items():
                    if (bound := getattr(rule, name)) is not None:
                        schema[keyword] = bound
                least, most = _LENGTHS.get(schema.get("type", ""), ("minProperties", "maxProperties"))
                if rule.min_length is not None:
                    schema[least] = rule.min_length
                if rule.max_length is not None:
                    schema[most] = rule.max_length
                if rule.pattern is not None:
                    # Python's end of a text
                    schema["pattern"] = rule.pattern.replace(r"\Z", "$")
        return schema

    def _union(self, kinds: tuple[Any, ...]) -> JsonObject:
        # a reason is shown as its sentence
        schemas = [self.schema_of(kind) for kind in kinds if kind not in (UnsetType, Reason)]
        if len(schemas) == 1:
            return schemas[0]
        if len(schemas) == 2 and schemas[1] == {"type": "null"} and isinstance(schemas[0].get("type"), str):
            first, _ = schemas
            enum = {"enum": [*first["enum"], None]} if "enum" in first else {}
            return {**first, "type": [first["type"], "null"], **enum}
        return {"anyOf": schemas}


def plain(docstring: str | None) -> str:
    """A docstring as Markdown: its paragraphs on one line each, and code in one back-tick."""
    paragraphs = re.split(r"\n\s*\n", docstring or "")
    return "\n\n".join(" ".join(part.split()) for part in paragraphs).replace("``", "`").strip()


def _type_of(values: tuple[Any, ...]) -> str:
    return "string" if all(isinstance(value, str) for value in values) else "integer"
