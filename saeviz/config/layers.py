"""Sources of settings: the run file, the environment, `--set`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from saeviz.config.schema import EXTRACTORS, LISTS
from saeviz.formats.plain import one_line, quoted
from saeviz.formats.toml import check_values, parse_toml, read_toml
from saeviz.values.errors import ConfigError

ENVIRONMENT_PREFIX = "SAEVIZ_"


@dataclass(frozen=True)
class Layer:
    """The settings from one source. Relative paths in them are relative to `base`.

    Raises `ConfigError` for values that no option can take, such as a number of 10,000 digits.
    """

    tables: Mapping[str, Any]
    base: Path
    name: str

    def __post_init__(self) -> None:
        check_values(self.tables, self.name)


def read_run_file(path: Path) -> Layer:
    """Read the tables of a TOML run file. Raises `ConfigError` if it cannot be read.

    The default of `run.dir` is `runs/NAME`, beside the file `NAME.toml`.
    """
    try:
        tables = read_toml(path)
    except FileNotFoundError as error:
        raise ConfigError(f"no run file {path}; `saeviz init {path}` writes one") from error
    except ConfigError as error:
        raise ConfigError(f"the run file {error}") from error
    settings = tables.setdefault("run", {})
    if isinstance(settings, dict):
        settings.setdefault("dir", f"runs/{path.stem}")
    return Layer(tables, path.resolve().parent, str(path))


def environment_layer(environment: Mapping[str, str], base: Path) -> Layer:
    """Settings from environment variables: `SAEVIZ_RUN__DEVICE=cpu` means `run.device = "cpu"`."""
    assignments = [
        f"{name.removeprefix(ENVIRONMENT_PREFIX).lower().replace('__', '.')}={value}"
        for name, value in sorted(environment.items())
        if name.startswith(ENVIRONMENT_PREFIX) and "__" in name
    ]
    return assignment_layer(assignments, base, "the environment")


def assignment_layer(assignments: Sequence[str], base: Path, name: str = "--set") -> Layer:
    """Settings from assignments such as `extractor.layers=[11]`: a dotted key and a TOML value; text needs no quotes.

    A list of components can be replaced, `scorers=[{ use = "pearson-bh" }]`, or one entry changed by its index,
    `scorers.0.alpha=0.01`.
    """
    tables: dict[str, Any] = {}
    for assignment in assignments:
        key, separator, text = assignment.partition("=")
        parts = key.strip().split(".")
        is_list = len(parts) == 1 and parts[0] in (*LISTS, EXTRACTORS)
        if not separator or not all(parts) or not (len(parts) > 1 or is_list):
            # The value is not quoted: in the environment it may be anything.
            raise ConfigError(f"{name} {quoted(key)}: write TABLE.KEY=VALUE, for example extractor.layers=[11]")
        _assign(tables, parts, _toml_value(text.strip()), f"{name} {quoted(key)}")
    return Layer(tables, base, name)


def _assign(tables: dict[str, Any], parts: Sequence[str], value: Any, where: str) -> None:
    """Set the value of a dotted key in `tables`, which holds earlier assignments."""
    target: Any = tables
    for depth, part in enumerate(parts):
        above = ".".join(parts[:depth])
        if not isinstance(target, dict | list):
            raise ConfigError(f"{where}: {one_line(above)} is set to a value without keys")
        number = _number(part, len(target)) if isinstance(target, list) else None
        if isinstance(target, list) and number is None:
            raise ConfigError(f"{where}: {one_line(above)}.{one_line(part)} does not exist")
        place: Any = part if number is None else number
        if depth == len(parts) - 1:
            target[place] = value
        elif isinstance(target, dict):
            target = target.setdefault(place, {})
        else:
            target = target[place]


def _number(text: str, n: int) -> int | None:
    """The text as an index of one of `n` entries, None if it is not one."""
    return int(text) if text.isdecimal() and len(text) <= len(str(n)) and int(text) < n else None


def _toml_value(text: str) -> Any:
    try:
        tables = parse_toml(f"value = {text}")
    except ValueError:
        return text
    return tables["value"] if len(tables) == 1 else text


def plugin_words(layers: Sequence[Layer]) -> tuple[list[str], Path] | None:
    """`[plugins] use` of the last layer that has it, and the folder its files are relative to; None if none has."""
    for layer in reversed(layers):
        table = layer.tables.get("plugins", {})
        if not isinstance(table, Mapping) or set(table) - {"use"}:
            raise ConfigError(f"{layer.name}: the table [plugins] has only the option `use`")
        if "use" in table:
            words = table["use"]
            words = [words] if isinstance(words, str) else words
            if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
                raise ConfigError(f"{layer.name}: plugins.use must be a list of text")
            return words, layer.base
    return None
