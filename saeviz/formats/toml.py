"""Read untrusted TOML within limits, and write TOML."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from saeviz.formats.plain import quoted
from saeviz.values.errors import ConfigError
from saeviz.values.regular import open_regular, reason_of

MOST_BYTES = 4 * 2**20
DEEPEST = 32


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a file; raises `ConfigError` where there are none to be had, `FileNotFoundError` without a file."""
    try:
        with open_regular(path) as file:
            data = file.read(MOST_BYTES + 1)
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read: {reason_of(error)}") from error
    if len(data) > MOST_BYTES:
        raise ConfigError(
            f"{path} cannot be read: it has more than {MOST_BYTES // 2**20} MB, which is too large for a run file"
        )
    try:
        return parse_toml(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} cannot be read: it is not UTF-8 text (byte {error.start})") from error
    except ValueError as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from error


def parse_toml(text: str) -> dict[str, Any]:
    """Parse TOML text. Raises `ValueError` with the reason."""
    try:
        return tomllib.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    except tomllib.TOMLDecodeError:
        raise
    except ValueError as error:  # Python's limit on digits
        raise ValueError("a number in it has too many digits") from error


def check_values(tables: Mapping[str, Any], name: str) -> None:
    """Raise `ConfigError` for values that no option can take and no file can hold, before anything handles them.

    `name` is where they come from.
    """
    waiting: list[tuple[str, Any, int]] = [("", tables, 0)]
    while waiting:
        place, value, depth = waiting.pop()
        mistake = _mistake(value, depth)
        if mistake:
            raise ConfigError(f"{name}: {place}{': ' if place else ''}{mistake}")
        start = f"{place}." if place else ""
        if isinstance(value, Mapping):
            for key, entry in value.items():
                if not isinstance(key, str) or _text_mistake(key):
                    raise ConfigError(f"{name}: {start}{quoted(key)} is not a name of an option")
                waiting.append((start + key, entry, depth + 1))
        elif isinstance(value, list | tuple):
            waiting += [(f"{start}{number}", entry, depth + 1) for number, entry in enumerate(value)]


def to_toml(tables: Mapping[str, Any]) -> str:
    """The tables as TOML text; None, which TOML does not have, is left out."""
    import tomli_w

    return tomli_w.dumps(_without_none(tables))


def toml_value(value: Any) -> str:
    """One value as TOML, on one line."""
    if isinstance(value, Mapping):
        inside = ", ".join(f"{toml_key(str(key))} = {toml_value(entry)}" for key, entry in _without_none(value).items())
        return f"{{ {inside} }}" if inside else "{}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(toml_value, value))}]"
    kept = value if isinstance(value, str | bool | int | float) else str(value)
    return to_toml({"x": kept}).removeprefix("x = ").rstrip("\n")


def toml_key(name: str) -> str:
    """A key as TOML, quoted if necessary."""
    return to_toml({name: 0}).removesuffix(" = 0\n")


def _without_none(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_none(entry) for key, entry in value.items() if entry is not None}
    if isinstance(value, list | tuple):
        return [_without_none(entry) for entry in value if entry is not None]
    return value


def _mistake(value: Any, depth: int) -> str | None:
    if depth > DEEPEST:
        return f"it is nested more than {DEEPEST} deep"
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        return f"{quoted(value)} is too large for an option"
    return _text_mistake(value) if isinstance(value, str) else None


def _text_mistake(text: str) -> str | None:
    if "\0" in text:
        return f"{quoted(text)} has a NUL character in it"
    if not text.isascii() and any("\ud800" <= letter <= "\udfff" for letter in text):
        return f"{quoted(text)} is not valid text (UTF-8); rename the file or folder if it is one"
    return None
