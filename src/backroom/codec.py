"""Typed data and results as JSON text, and back: dataclasses, TypedDicts, msgspec Structs,
pydantic models, and anything else msgspec knows. pydantic is never imported here: a model is
known by its methods.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Generic, TypeVar, cast, get_origin

import msgspec
from msgspec import inspect as shapes

from backroom.errors import ConfigurationError, JobTypeError

__all__ = ["Codec", "encode_json", "plain"]

T = TypeVar("T")

_FLOATS: Final = (shapes.FloatType, shapes.AnyType, shapes.CustomType)
"""Where a NaN may stand."""
_OBJECTS: Final = (shapes.StructType, shapes.DataclassType, shapes.TypedDictType)


class Codec(Generic[T]):
    """How values of one type travel. `type_` None: any JSON object, as a plain `dict`."""

    def __init__(self, owner: str, what: str, type_: Any) -> None:
        """`owner` and `what` name the place in errors: "SEND_EMAIL", "data"."""
        self.owner = owner
        self.what = what
        self.type = type_
        self._encode = _encoder.encode
        self._may_be_endless = self._may_hold_raw = True
        try:
            self._decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(
                dict[str, Any] if type_ is None else type_, dec_hook=_from_plain
            )
            self._shape = None if type_ is None else shapes.type_info(type_)
        except TypeError as error:
            raise ConfigurationError(
                f"{owner}: {type_!r} cannot be the type of its {what}: {error}"
            ) from None
        if self._shape is not None:
            self._look_at(list(_parts(self._shape, set())))

    def _look_at(self, parts: list[Any]) -> None:
        for part in parts:
            if isinstance(part, shapes.CustomType) and not _can_be_made(part.cls):
                raise ConfigurationError(
                    f"{self.owner}: {self.type!r} cannot be the type of its {self.what}: values of"
                    f" type {part.cls!r} cannot be made from JSON"
                )
        self._may_be_endless = any(isinstance(part, _FLOATS) for part in parts)
        self._may_hold_raw = any(isinstance(part, shapes.RawType) for part in parts)

    def encode(self, value: Any) -> str:
        """JSON text of a value that fits. What this returns can be read again.

        Raises:
            JobTypeError: it cannot be encoded, does not fit the type, has unknown keys, or,
                without a type, has keys that are no text: JSON would bring them back as text.
        """
        try:
            text = self._encode(value).decode()
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise JobTypeError(
                f"{self.owner}: the {self.what} cannot be encoded as JSON: {error}", self.what
            ) from None
        if self._shape is None and _is_flat(value):
            return text
        try:
            self._refuse_what_does_not_come_back(value, text)
        except RecursionError:
            raise JobTypeError(
                f"{self.owner}: the {self.what} is nested too deeply", self.what
            ) from None
        return text

    def _refuse_what_does_not_come_back(self, value: Any, text: str) -> None:
        if self._may_be_endless and "null" in text:
            _refuse_endless(self.owner, self.what, value)
        read = self._read(text)
        if self._may_hold_raw and self._shape is not None:
            _refuse_unreadable(self.owner, self.what, text)
        if self._shape is None:
            if not _same(read, value):  # Else every key came back as itself.
                _refuse_numbers_as_keys(self.owner, self.what, value)
        elif type(value) is dict or isinstance(value, Mapping):
            path = _unknown_key(self._shape, value, "$")
            if path is not None:
                raise JobTypeError(
                    f"{self.owner}: unknown key {path} in the {self.what};"
                    f" {getattr(self.type, '__name__', self.type)} has no such field",
                    f"{self.what}{path.removeprefix('$')}",
                )

    def lack(self, path: Sequence[str]) -> str | None:
        """Why no value of the type has a field at the end of this path; None if one may have."""
        return None if self._shape is None else _lack(self._shape, path, self.what)

    def decode(self, text: str) -> T:
        """The typed value of JSON text; unknown keys are passed over.

        Raises:
            JobTypeError: it does not fit the type, or is no JSON.
        """
        return self._read(text)

    def _read(self, text: str | bytes) -> T:
        try:
            return cast("T", self._decoder.decode(text))
        except msgspec.ValidationError as error:
            said = _place(str(error), self.what)
            raise JobTypeError(f"{self.owner}: {said}", _option(said, self.what)) from None
        except Exception as error:  # No JSON, or the type's own check raises what it likes.
            raise JobTypeError(
                f"{self.owner}: the {self.what} cannot be read: {type(error).__name__}: {error}",
                self.what,
            ) from error


_TEXT: Final = frozenset({str})
_FLAT: Final = frozenset({str, int, bool, type(None)})


def _is_flat(value: Any) -> bool:
    """Whether this is a mapping of texts to nothing but values that come back as they are: most
    data is, and need not be read again to know it."""
    return (
        type(value) is dict
        and _TEXT.issuperset(map(type, value))
        and _FLAT.issuperset(map(type, value.values()))
    )


def encode_json(owner: str, what: str, value: Any) -> str:
    """Any JSON value as text, which can be read again.

    Raises:
        JobTypeError: it cannot be encoded.
    """
    try:
        text = _encoder.encode(value).decode()
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise JobTypeError(f"{owner}: the {what} cannot be encoded as JSON: {error}") from None
    _refuse_unreadable(owner, what, text)
    if "null" in text:
        _refuse_endless(owner, what, value)
    return text


def _refuse_unreadable(owner: str, what: str, text: str) -> None:
    """`msgspec.Raw` is written as it is, whatever it holds; and what is nested deeper than it
    can be read would be stored and never seen again."""
    try:
        msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise JobTypeError(f"{owner}: the {what} cannot be read again as JSON: {error}") from None


def plain(value: Any) -> Any:
    """A value as JSON holds it; what JSON cannot hold, as it is."""
    try:
        return msgspec.to_builtins(value, enc_hook=_to_plain, str_keys=True)
    except (TypeError, ValueError, OverflowError, RecursionError):
        return value


def _refuse_endless(owner: str, what: str, value: Any) -> None:
    """JSON has no NaN and no infinity; msgspec would quietly write null for them."""
    for path, item in _places(value):
        if isinstance(item, float) and not math.isfinite(item):
            raise JobTypeError(
                f"{owner}: NaN or an infinity at {path} of the {what} cannot be encoded as JSON;"
                " give None, or a text"
            )


def _refuse_numbers_as_keys(owner: str, what: str, value: Any) -> None:
    """msgspec would quietly write a text for them, and a text would come back."""
    for path, item in _places(value):
        if isinstance(item, dict):
            for key in item:
                if not isinstance(key, str):
                    raise JobTypeError(
                        f"{owner}: the key {key!r} at {path} of the {what} must be a text: JSON"
                        f' has no other keys; write "{key}"'
                    )


def _places(value: Any) -> Iterator[tuple[str, Any]]:
    """Every value within one that can be encoded, with its path."""
    within = [("$", msgspec.to_builtins(value, enc_hook=_to_plain_or_raw))]
    while within:
        path, item = within.pop()
        yield path, item
        if isinstance(item, dict):
            within += [(f"{path}.{key}", inner) for key, inner in item.items()][::-1]
        elif isinstance(item, (list, tuple)):
            within += [(f"{path}[{index}]", inner) for index, inner in enumerate(item)][::-1]


def _same(read: object, value: object) -> bool:
    try:
        return bool(read == value)
    except Exception:  # An `==` of the user's own says what it likes.
        return False


def _parts(shape: Any, seen: set[int]) -> Iterator[Any]:
    """A type and all types within it."""
    if id(shape) in seen:
        return
    seen.add(id(shape))
    yield shape
    inner = [field.type for field in getattr(shape, "fields", ())]
    inner += [*getattr(shape, "types", ()), *getattr(shape, "item_types", ())]
    inner += [
        getattr(shape, name)
        for name in ("item_type", "key_type", "value_type")
        if hasattr(shape, name)
    ]
    for type_ in inner:
        yield from _parts(type_, seen)


def _place(message: str, what: str) -> str:
    """msgspec's "Expected `str`, got `int` - at `$.a`" as "expected str at $.a, got int"."""
    text, _, path = message.partition(" - at `")
    path = path.rstrip("`") or "$"
    text = text.replace("`", "")
    first, comma, rest = text.partition(", got ")
    return f"{first[:1].lower()}{first[1:]} at {path} of the {what}{comma}{rest}"


def _option(said: str, what: str) -> str:
    """The place that `_place` has told of, as one of an option: "data.a"."""
    return f"{what}{said.partition(' at $')[2].partition(f' of the {what}')[0]}"


def _to_plain(value: Any) -> Any:
    if isinstance(value, str):  # msgspec refuses subclasses of `str`, such as JobId.
        return str.__str__(value)
    dump = getattr(value, "model_dump", None)
    if dump is not None and not isinstance(value, type):
        return dump(mode="json", by_alias=True)
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"values of type {type(value).__qualname__} are not JSON")


def _to_plain_or_raw(value: Any) -> Any:
    """Text that is JSON already holds no value of ours."""
    return None if isinstance(value, msgspec.Raw) else _to_plain(value)


_encoder: Final = msgspec.json.Encoder(enc_hook=_to_plain)


def _can_be_made(type_: Any) -> bool:
    """Whether `_from_plain` makes values of a type that msgspec does not know."""
    plain = get_origin(type_) or type_
    return hasattr(type_, "model_validate") or (isinstance(plain, type) and issubclass(plain, str))


def _from_plain(type_: Any, value: Any) -> Any:
    validate = getattr(type_, "model_validate", None)
    if validate is None:
        plain = get_origin(type_) or type_  # JobId[Report] is a JobId
        if isinstance(value, str):
            return plain(value)
        raise ValueError(f"expected str, got {type(value).__name__}")
    try:
        return validate(value)
    except ValueError as error:
        list_errors = getattr(error, "errors", None)
        if list_errors is None:
            raise
        first = list_errors(include_url=False)[0]
        path = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in first["loc"])
        raise ValueError(f"{first['msg']} (field {path.lstrip('.') or 'itself'})") from None


def _unknown_key(shape: Any, value: Any, path: str) -> str | None:
    """The path of the first key of plain data that the type has no field for."""
    if isinstance(shape, shapes.UnionType):
        candidates = [t for t in shape.types if not isinstance(t, shapes.NoneType)]
        return _unknown_key(candidates[0], value, path) if len(candidates) == 1 else None
    if isinstance(shape, _OBJECTS) and isinstance(value, Mapping):
        fields = {field.encode_name: field.type for field in shape.fields}
        tag = getattr(shape, "tag_field", None)
        for key, inner in value.items():
            if key not in fields:
                if key == tag:
                    continue
                return f"{path}.{key}"
            found = _unknown_key(fields[key], inner, f"{path}.{key}")
            if found:
                return found
    elif isinstance(shape, shapes.CustomType) and hasattr(shape.cls, "model_fields"):
        return _unknown_model_key(shape.cls, value, path)
    elif isinstance(shape, (shapes.ListType, shapes.VarTupleType)) and isinstance(
        value, (list, tuple)
    ):
        for index, inner in enumerate(value):
            found = _unknown_key(shape.item_type, inner, f"{path}[{index}]")
            if found:
                return found
    elif isinstance(shape, shapes.DictType) and isinstance(value, Mapping):
        for key, inner in value.items():
            found = _unknown_key(shape.value_type, inner, f"{path}.{key}")
            if found:
                return found
    return None


def _unknown_model_key(model: Any, value: Any, path: str) -> str | None:
    if not isinstance(value, Mapping) or model.model_config.get("extra") == "allow":
        return None
    names = set(model.model_fields)
    for field in model.model_fields.values():
        names |= {a for a in (field.alias, field.validation_alias) if isinstance(a, str)}
    for key in value:
        if key not in names:
            return f"{path}.{key}"
    return None


def _lack(shape: Any, path: Sequence[str], way: str) -> str | None:
    if not path or isinstance(shape, shapes.AnyType):
        return None
    if isinstance(shape, shapes.UnionType):
        lacks = [_lack(type_, path, way) for type_ in shape.types]
        found = [lack for type_, lack in zip(shape.types, lacks, strict=True)
                 if not isinstance(type_, shapes.NoneType)]  # fmt: skip
        return None if None in lacks else found[0]
    name, further = path[0], f"{way}.{path[0]}"
    fields: Mapping[str, Any]
    if isinstance(shape, shapes.DictType):
        return _lack(shape.value_type, path[1:], further)
    if isinstance(shape, _OBJECTS) and not getattr(shape, "array_like", False):
        fields = {field.encode_name: field.type for field in shape.fields}
        if name == getattr(shape, "tag_field", None):
            fields = {**fields, name: shapes.StrType()}
    elif isinstance(shape, shapes.CustomType) and hasattr(shape.cls, "model_fields"):
        model: Any = shape.cls
        if model.model_config.get("extra") == "allow":
            return None
        fields = {
            field.serialization_alias or field.alias or own: shapes.type_info(field.annotation)
            for own, field in model.model_fields.items()
        }
    elif isinstance(shape, shapes.CustomType | shapes.RawType):
        return None
    else:
        return f"{way} is no object, and has no fields"
    if name not in fields:
        return f"{way} has no field {name!r}, it has {', '.join(fields) or 'none'}"
    return _lack(fields[name], path[1:], further)
