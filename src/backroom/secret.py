"""Fields of data and results that nobody is shown: `password: Annotated[str, Secret]`.

What handlers get, and what storages keep, is not changed by it.
"""

from __future__ import annotations

import copy
import dataclasses
import types
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, TypeAlias, Union, get_args, get_origin, get_type_hints

import msgspec

__all__ = ["HIDDEN", "Mask", "Secret", "mask_of", "masked", "masked_schema", "paths_of"]

HIDDEN: Final = "(hidden)"
"""Stands where something is not shown."""
VALUES: Final = ("default", "examples", "const", "enum")
"""What says a value, in a JSON schema."""


class Secret:
    """Marks a field: `Annotated[str, Secret]`. Dashboards and the REST API show "(hidden)" in its
    place; a pydantic `SecretStr` is one without being marked."""


class _Each:
    """The mask of every item of a list, or of every value of an object."""

    __slots__ = ("mask",)

    def __init__(self, mask: Mask) -> None:
        self.mask = mask


Mask: TypeAlias = "bool | _Each | dict[str, Mask]"
"""What is hidden of a value: all of it (True), nothing (False), or something of its parts."""

_PYDANTIC: Final = frozenset({"SecretStr", "SecretBytes"})


def mask_of(type_: Any) -> Mask:
    """What is hidden of values of a type; None: any JSON, of which nothing is known."""
    return _mask(type_, ())


def _mask(type_: Any, within: tuple[Any, ...], probing: bool = False) -> Mask:
    if get_origin(type_) is Annotated:
        plain, *marks = get_args(type_)
        if any(mark is Secret or isinstance(mark, Secret) for mark in marks):
            return True
        return _mask(plain, within, probing)
    origin, arguments = get_origin(type_), get_args(type_)
    if origin in (Union, types.UnionType):
        return _either([_mask(one, within, probing) for one in arguments])
    if isinstance(origin, type) and issubclass(origin, Mapping) and len(arguments) == 2:
        return _each(_mask(arguments[1], within, probing))
    if isinstance(origin, type) and issubclass(origin, (Sequence, set, frozenset)):
        items = [one for one in arguments if one is not Ellipsis]
        return _each(_either([_mask(one, within, probing) for one in items]))
    plain = origin or type_
    if not isinstance(plain, type):
        return False
    if plain.__name__ in _PYDANTIC and plain.__module__.startswith("pydantic"):
        return True
    if plain in within:
        # A type that has itself within. If it has secrets, it is hidden there as a whole.
        return False if probing else _mask(plain, (), probing=True) is not False
    return _of_fields(plain, (*within, plain), probing)


def _of_fields(plain: type, within: tuple[Any, ...], probing: bool) -> Mask:
    names = _names(plain)
    if names is None:
        return False
    hints = get_type_hints(plain, include_extras=True)
    found: dict[str, Mask] = {}
    for name, keys in names.items():
        mask = _mask(_bare(hints.get(name)), within, probing)
        if mask is not False:
            found.update(dict.fromkeys(keys, mask))
    if found and getattr(getattr(plain, "__struct_config__", None), "array_like", False):
        return True  # A list of fields without names: all of it.
    return found or False


def _bare(hint: Any) -> Any:
    """Without `Required` and the like of a TypedDict."""
    while str(get_origin(hint)).rpartition(".")[2] in ("Required", "NotRequired", "ReadOnly"):
        [hint] = get_args(hint)
    return hint


def _names(plain: type) -> dict[str, tuple[str, ...]] | None:
    """The fields of a type, with the names that they may have in JSON; None: it has none."""
    if issubclass(plain, msgspec.Struct):
        return {one.name: (one.encode_name,) for one in msgspec.structs.fields(plain)}
    if dataclasses.is_dataclass(plain):
        return {one.name: (one.name,) for one in dataclasses.fields(plain)}
    model = getattr(plain, "model_fields", None)
    if isinstance(model, Mapping):
        return {name: _aliases(name, one) for name, one in model.items()}
    if hasattr(plain, "__required_keys__") or hasattr(plain, "_fields"):
        return {name: (name,) for name in get_type_hints(plain)}
    return None


def _aliases(name: str, field: Any) -> tuple[str, ...]:
    said = (getattr(field, which, None) for which in ("alias", "serialization_alias"))
    return (name, *(alias for alias in said if isinstance(alias, str)))


def _each(mask: Mask) -> Mask:
    return False if mask is False else _Each(mask)


def _either(masks: Sequence[Mask]) -> Mask:
    """Of a value that is of one of several types: what any of them hides."""
    hiding = [mask for mask in masks if mask is not False]
    if len(hiding) < 2:
        return hiding[0] if hiding else False
    if not all(isinstance(mask, dict) for mask in hiding):
        return True
    merged: dict[str, Mask] = {}
    for mask in hiding:
        assert isinstance(mask, dict)
        for name, inner in mask.items():
            merged[name] = _either([merged[name], inner]) if name in merged else inner
    return merged


def masked(value: Any, mask: Mask) -> Any:
    """Plain JSON values without what is hidden. A value of another shape than the mask's, as
    older data may be, is hidden as a whole; null says nothing, and stays."""
    if mask is False or value is None:
        return value
    if isinstance(mask, _Each):
        if isinstance(value, dict):
            return {key: masked(item, mask.mask) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [masked(item, mask.mask) for item in value]
        return HIDDEN
    if isinstance(mask, dict) and isinstance(value, dict):
        return {key: masked(item, mask.get(key, False)) for key, item in value.items()}
    return HIDDEN


def masked_schema(schema: dict[str, Any], mask: Mask) -> dict[str, Any]:
    """A JSON schema that says no value of what is hidden, as a default is one."""
    schema = copy.deepcopy(schema)
    _hide(schema, mask, schema.get("$defs", {}), set())
    return schema


def _hide(node: Any, mask: Mask, defs: dict[str, Any], seen: set[str]) -> None:
    """`seen`: definitions that are hidden as a whole."""
    if mask is False or not isinstance(node, dict):
        return
    name = str(node.get("$ref", "")).rpartition("/")[2]
    if mask is True:
        for key in VALUES:
            node.pop(key, None)
        for inner in [node.get("properties", {}), node.get("patternProperties", {})]:
            for one in inner.values():
                _hide(one, True, defs, seen)
        if name in defs and name not in seen:
            seen.add(name)
            _hide(defs[name], True, defs, seen)
    else:
        node.pop("examples", None)
        if "default" in node:
            node["default"] = masked(node["default"], mask)
        _hide(defs.get(name), mask, defs, seen)
        if isinstance(mask, dict):
            for field, inner_mask in mask.items():
                _hide(node.get("properties", {}).get(field), inner_mask, defs, seen)
    each = mask.mask if isinstance(mask, _Each) else mask is True
    for key in ("items", "additionalProperties"):
        _hide(node.get(key), each, defs, seen)
    for one in node.get("prefixItems", ()):
        _hide(one, each, defs, seen)
    for key in ("anyOf", "oneOf", "allOf"):
        for one in node.get(key, ()):
            _hide(one, mask, defs, seen)


def paths_of(mask: Mask, path: str = "$") -> list[str]:
    """Where something is hidden: "$.password", "$.users[].token"."""
    if isinstance(mask, _Each):
        return paths_of(mask.mask, f"{path}[]")
    if isinstance(mask, dict):
        return [
            found for name, inner in mask.items() for found in paths_of(inner, f"{path}.{name}")
        ]
    return [path] if mask else []
