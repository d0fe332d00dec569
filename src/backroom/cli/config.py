"""What a file says where neither the command line nor the environment does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import click

from backroom.cli.plain import plain

__all__ = ["FILE", "PROJECT", "read_config"]

FILE: Final = "backroom.toml"
PROJECT: Final = "pyproject.toml"
SHARED: Final = {"app": "target", "storage": "storage", "json": "as_json"}
"""Keys above all tables, with the parameters that they set in every command that has them."""
NOT_HERE: Final = ("help", "version")


def read_config(root: click.Group, context: click.Context, named: Path | None) -> dict[str, Any]:
    """The defaults of all commands: from the file that was named, or else `backroom.toml` or
    `[tool.backroom]` of `pyproject.toml` in the current folder; empty where there is none.

    Raises:
        click.UsageError: it cannot be read, has a key that no command has, or a value that the
            command line would refuse.
    """
    for path in (named,) if named is not None else (Path(FILE), Path(PROJECT)):
        table = _table(path, named is not None)
        if table is not None:
            return _Reader(context, str(path)).defaults(root, table)
    return {}


def _table(path: Path, wanted: bool) -> Mapping[str, Any] | None:
    """Ours of a file; None if it is not there, or says nothing of us."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        if wanted:
            raise click.UsageError(plain(f"there is no file {path}")) from None
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise click.UsageError(plain(f"{path} cannot be read: {error}")) from None
    if path.name == PROJECT and "tool.backroom" not in text:
        return None  # Nobody waits for a parser that would find nothing.
    import tomllib

    try:
        table: dict[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise click.UsageError(plain(f"{path}: {error}")) from None
    if path.name != PROJECT:
        return table
    ours = table.get("tool", {}).get("backroom")
    return ours if isinstance(ours, dict) else None


class _Reader:
    """Goes through a file's tables along with the commands they are named after."""

    def __init__(self, context: click.Context, file: str) -> None:
        self._context = context
        self._file = file

    def defaults(self, root: click.Group, table: Mapping[str, Any]) -> dict[str, Any]:
        shared: dict[str, Any] = {}
        rest: dict[str, Any] = {}
        for key, value in table.items():
            if key in SHARED:
                kind = bool if key == "json" else str
                if not isinstance(value, kind):
                    raise self._wrong(key, f"expected {_name(kind)}, got {value!r}")
                shared[SHARED[key]] = value
            else:
                rest[key] = value
        return self._group(root, rest, "", shared)

    def _group(
        self, group: click.Group, table: Mapping[str, Any], above: str, shared: Mapping[str, Any]
    ) -> dict[str, Any]:
        known = [*group.commands, *(() if above else SHARED)]
        for key in table:
            if key.replace("_", "-") not in group.commands:
                raise self._unknown(key, above, known)
        found: dict[str, Any] = {}
        for name, command in group.commands.items():
            said = table.get(name, table.get(name.replace("-", "_"), {}))
            place = f"{above}.{name}" if above else name
            if not isinstance(said, dict):
                raise self._wrong(place, f"expected a table, got {said!r}")
            if isinstance(command, click.Group):
                found[name] = self._group(command, said, place, shared)
            else:
                own = {param.name for param in command.params}
                found[name] = {key: value for key, value in shared.items() if key in own}
                found[name] |= self._command(command, said, place)
        return found

    def _command(
        self, command: click.Command, table: Mapping[str, Any], place: str
    ) -> dict[str, Any]:
        params = {
            name.removeprefix("--"): param
            for param in command.params
            for name in param.opts
            if isinstance(param, click.Option) and name.startswith("--")
        }
        params = {name: param for name, param in params.items() if name not in NOT_HERE}
        found: dict[str, Any] = {}
        for key, value in table.items():
            param = params.get(key.replace("_", "-"))
            if param is None or param.name is None:
                raise self._unknown(key, place, params)
            found[param.name] = self._value(param, value, f"{place}.{key}")
        return found

    def _value(self, param: click.Parameter, value: Any, place: str) -> Any:
        if param.multiple and isinstance(value, str):
            value = [value]
        if param.multiple != isinstance(value, list):
            raise self._wrong(place, f"expected {'a list' if param.multiple else 'one value'}")
        is_flag = isinstance(param, click.Option) and param.is_bool_flag
        if is_flag != isinstance(value, bool) or isinstance(value, dict):
            raise self._wrong(place, f"expected {'true or false' if is_flag else 'a value'},"
                                     f" got {value!r}")  # fmt: skip
        try:
            param.type_cast_value(self._context, value)
        except click.BadParameter as error:
            raise self._wrong(place, error.message) from None
        return value

    def _unknown(self, key: str, above: str, known: Iterable[str]) -> click.UsageError:
        import difflib

        known = sorted(known)
        close = difflib.get_close_matches(key.replace("_", "-"), known, 1)
        near = f"; did you mean {close[0]!r}?" if close else ""
        where = f" in [{above}]" if above else ""
        return click.UsageError(
            plain(f"{self._file}: unknown key {key!r}{where}{near} (known: {', '.join(known)})")
        )

    def _wrong(self, place: str, what: str) -> click.UsageError:
        return click.UsageError(plain(f"{self._file}: {place}: {what}"))


def _name(kind: type) -> str:
    return "true or false" if kind is bool else "a text"
