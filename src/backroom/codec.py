"""Typed data and results as JSON text, and back: dataclasses, TypedDicts, msgspec Structs,
pydantic models, and anything else msgspec knows. pydantic is never imported here: a model is
known by its methods.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, Final, Generic, TypeVar, cast, get_origin

import msgspec
from msgspec import inspect as shapes

from backroom.errors import ConfigurationError, JobTypeError

__all__ = ["Codec", "encode_json"]

T = TypeVar("T")

_OBJECTS: Final = (shapes.StructType, shapes.DataclassType, shapes.TypedDictType)


class Codec(Generic[T]):
    """How values of one type travel. `type_` None: any JSON object, as a plain `dict`."""

    def __init__(self, owner: str, what: str, type_: Any) -> None:
        """`owner` and `what` name the place in errors: "SEND_EMAIL", "data"."""
        self.owner = owner
        self.what = what
        self.type = type_
        self._encode = _encoder.encode
        self._may_be_endless = True
        try:
            self._decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(
                dict[str, Any] if type_ is None else type_, dec_hook=_from_plain
            )
            self._shape = None if type_ is None else shapes.type_info(type_)
            if self._shape is not None:
                self._may_be_endless = _may_hold_floats(self._shape, set())
        except TypeError as error:
            raise ConfigurationError(
                f"{owner}: {type_!r} cannot be the type of its {what}: {error}"
            ) from None

    def encode(self, value: Any) -> str:
        """JSON text of a value that fits.

        Raises:
            JobTypeError: it cannot be encoded, does not fit the type, or has unknown keys.
        """
        try:
            text = self._encode(value)
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise JobTypeError(
                f"{self.owner}: the {self.what} cannot be encoded as JSON: {error}"
            ) from None
        if self._may_be_endless and b"null" in text:
            _refuse_endless(self.owner, self.what, value)
        if self._shape is None and type(value) is dict:
            return text.decode()
        self._read(text)
        if self._shape is not None and (type(value) is dict or isinstance(value, Mapping)):
            path = _unknown_key(self._shape, value, "$")
            if path is not None:
                raise JobTypeError(
                    f"{self.owner}: unknown key {path} in the {self.what};"
                    f" {getattr(self.type, '__name__', self.type)} has no such field"
                )
        return text.decode()

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
            raise JobTypeError(f"{self.owner}: {_place(str(error), self.what)}") from None
        except Exception as error:  # No JSON, or the type's own check raises what it likes.
            raise JobTypeError(
                f"{self.owner}: the {self.what} cannot be read: {type(error).__name__}: {error}"
            ) from error


def encode_json(owner: str, what: str, value: Any) -> str:
    """Any JSON value as text.

    Raises:
        JobTypeError: it cannot be encoded.
    """
    try:
        text = _encoder.encode(value)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise JobTypeError(f"{owner}: the {what} cannot be encoded as JSON: {error}") from None
    if b"null" in text:
        _refuse_endless(owner, what, value)
    return text.decode()


def _refuse_endless(owner: str, what: str, value: Any) -> None:
    """JSON has no NaN and no infinity; msgspec would quietly write null for them."""
    path = _endless(msgspec.to_builtins(value, enc_hook=_to_plain), "$")
    if path is not None:
        raise JobTypeError(
            f"{owner}: NaN or an infinity at {path} of the {what} cannot be encoded as JSON;"
            " give None, or a text"
        )


def _endless(value: Any, path: str) -> str | None:
    if isinstance(value, float):
        return None if math.isfinite(value) else path
    inner: Iterable[tuple[str, Any]] = ()
    if isinstance(value, dict):
        inner = ((f"{path}.{key}", item) for key, item in value.items())
    elif isinstance(value, (list, tuple)):
        inner = ((f"{path}[{index}]", item) for index, item in enumerate(value))
    return next((found for at, item in inner if (found := _endless(item, at))), None)


def _may_hold_floats(shape: Any, seen: set[int]) -> bool:
    if id(shape) in seen:
        return False
    seen.add(id(shape))
    if isinstance(shape, (shapes.FloatType, shapes.AnyType, shapes.CustomType)):
        return True
    inner = [field.type for field in getattr(shape, "fields", ())]
    inner += [*getattr(shape, "types", ()), *getattr(shape, "item_types", ())]
    inner += [
        getattr(shape, name)
        for name in ("item_type", "key_type", "value_type")
        if hasattr(shape, name)
    ]
    return any(_may_hold_floats(type_, seen) for type_ in inner)


def _place(message: str, what: str) -> str:
    """msgspec's "Expected `str`, got `int` - at `$.a`" as "expected str at $.a, got int"."""
    text, _, path = message.partition(" - at `")
    path = path.rstrip("`") or "$"
    text = text.replace("`", "")
    first, comma, rest = text.partition(", got ")
    return f"{first[:1].lower()}{first[1:]} at {path} of the {what}{comma}{rest}"


def _to_plain(value: Any) -> Any:
    if isinstance(value, str):  # msgspec refuses subclasses of `str`, such as JobId.
        return str.__str__(value)
    dump = getattr(value, "model_dump", None)
    if dump is not None and not isinstance(value, type):
        return dump(mode="json", by_alias=True)
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"values of type {type(value).__qualname__} are not JSON")


_encoder: Final = msgspec.json.Encoder(enc_hook=_to_plain)


def _from_plain(type_: Any, value: Any) -> Any:
    validate = getattr(type_, "model_validate", None)
    if validate is None:
        plain = get_origin(type_) or type_  # JobId[Report] is a JobId
        if isinstance(plain, type) and issubclass(plain, str) and isinstance(value, str):
            return plain(value)
        raise NotImplementedError(f"values of type {type_!r} cannot be made from JSON")
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
