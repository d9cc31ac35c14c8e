"""Names keep several components of a role apart: prefixes of columns and spaces, and duplicate columns."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from saeviz.contract.specs import ScorerSpec
from saeviz.discovery.foreign import foreign_code
from saeviz.discovery.mistakes import suggest
from saeviz.formats.plain import quoted
from saeviz.values.columns import OF_EVERY_RUN, ColumnInfo, infos_of, is_there
from saeviz.values.errors import ConfigError, PluginError
from saeviz.values.keys import KEYS
from saeviz.values.scores import ScoreColumn, ScoreResult

if TYPE_CHECKING:
    from saeviz.config.schema import ComponentConfig
    from saeviz.discovery.manager import Manager
    from saeviz.values.features import FeatureSpace

OF_THE_CORE = (*KEYS, "n_active", "max", "mean")
"""Columns of `scores.parquet` that the core computes itself."""

LONGEST_NAME = 40


def name_mistake(name: Any) -> str | None:
    """What is wrong with the name of a scorer, None if it is valid."""
    if isinstance(name, str) and re.fullmatch(rf"[A-Za-z][A-Za-z0-9_-]{{0,{LONGEST_NAME - 1}}}", name):
        return None
    return (
        f"a letter, then letters, digits, '_' and '-', at most {LONGEST_NAME} characters, as a prefix of the names of "
        f"columns; not {quoted(name)}"
    )


def extractor_name_mistake(name: Any) -> str | None:
    """What is wrong with the name of an extractor, None if it is valid."""
    if isinstance(name, str) and re.fullmatch(r"[a-z][a-z0-9-]{0,29}", name):
        return None
    return f"a lower-case letter, then lower-case letters, digits and '-', at most 30 characters; not {quoted(name)}"


def renamed(result: ScoreResult, name: str) -> ScoreResult:
    """The column or fact with the scorer's name as a prefix."""
    return replace(result, name=prefixed(result.name, name))


def prefixed(column: str, name: str) -> str:
    """A column of a scorer with its name as a prefix: `bh` makes `bh_r` of `r`."""
    return f"{name}_{column}" if name else column


def double_columns(scorers: Sequence[ComponentConfig], manager: Manager) -> list[str]:
    """An error line for every two scorers that would give the same columns, as far as known before they run.

    These are two of the same kind, or two whose plugins declare a column of the same name.
    """
    lines = []
    seen: list[tuple[ComponentConfig, frozenset[str]]] = []
    for config in scorers:
        columns = declared_columns(config, manager)
        for other, known in seen:
            if (config.use, config.name) == (other.use, other.name):
                lines.append(
                    f"{other.place} and {config.place} are both {config.use!r} and would give the same columns; "
                    f"{_next_step(config)}"
                )
            elif columns & known:
                lines.append(
                    f"{other.place} ({other.use}) and {config.place} ({config.use}) would both give the column "
                    f"{min(columns & known)!r}; {_next_step(config)}"
                )
        seen.append((config, columns))
    return lines


def declared_columns(config: ComponentConfig, manager: Manager) -> frozenset[str]:
    """The columns that a scorer says it gives with these options, with its name in front."""
    return frozenset(info.name for info in declared_infos(config, manager) if _is_given(info, config))


def declared_infos(config: ComponentConfig, manager: Manager) -> list[ColumnInfo]:
    """What a scorer says of its columns, with its name in front, whatever its options are."""
    infos = manager.offer("scorer", config.use).spec.infos
    return [replace(info, name=prefixed(info.name, config.name)) for info in infos]


def declared_pairs(config: ComponentConfig, manager: Manager) -> tuple[ColumnInfo, ...]:
    """What a scorer says of its columns of pairs, in which its name is that of the folder."""
    spec = manager.offer("scorer", config.use).spec
    return spec.pair_infos if isinstance(spec, ScorerSpec) else ()


def declared_numbers(config: ComponentConfig, manager: Manager) -> tuple[ColumnInfo, ...]:
    """What an extractor says of the numbers of images that it gives."""
    return manager.offer("extractor", config.use).spec.infos


def _is_given(info: ColumnInfo, config: ComponentConfig) -> bool:
    return not info.option or bool(getattr(config.options, info.option, None))


def refuse_missing(
    config: ComponentConfig, scorers: Sequence[ComponentConfig], manager: Manager, known: Iterable[str] | None = None
) -> None:
    """Raise `ConfigError` if no scorer gives what a selector or a reporter needs.

    `known` are the columns that there are; before the scorers have run these are what they declare, and nothing is
    refused if one of them declares nothing.
    """
    declared = {scorer.place: declared_columns(scorer, manager) for scorer in scorers}
    if known is None and not all(declared.values()):
        return
    names = [info.name for info in OF_EVERY_RUN]
    names += list(known) if known is not None else [name for columns in declared.values() for name in columns]
    who = f"{config.place}: {config.use} of {manager.offer(config.role, config.use).source}"
    with foreign_code(f"{who} fails in needed_columns"):
        given = config.options.needed_columns()
        needed = given if isinstance(given, str) else list(given)
        if isinstance(needed, str) or not all(isinstance(wanted, str) for wanted in needed):
            raise PluginError(
                f"{who} returned {quoted(needed)} from needed_columns, which must give the names of columns"
            )
    for wanted in needed:
        if not is_there(wanted, names):
            raise ConfigError(
                f"{config.place}: {config.use} needs the column {wanted!r}, which no scorer of this run gives; "
                f"{_how_to_get(wanted, scorers, manager) or f'add a scorer that does{suggest(wanted, names)}'}"
            )


def _how_to_get(wanted: str, scorers: Sequence[ComponentConfig], manager: Manager) -> str:
    """An option of a scorer of the run that gives the column, or else another scorer; empty if there is none."""
    for config in scorers:
        for info in declared_infos(config, manager):
            if info.option and is_there(wanted, [info.name]):
                return f"set the option {info.option} of {config.place} ({config.use})"
    for name in manager.names("scorer"):
        if is_there(wanted, [info.name for info in manager.offer("scorer", name).spec.infos]):
            return f'add [[scorers]] use = "{name}"'
    return ""


class GivenColumns:
    """Records which scorer gave which column, so that a duplicate is rejected immediately."""

    def __init__(self) -> None:
        self._given: dict[tuple[str, str, str | None], ComponentConfig] = {}
        self._is_text: dict[tuple[str, bool], tuple[bool, FeatureSpace]] = {}

    def of(self, config: ComponentConfig) -> list[str]:
        """The names of a scorer's columns so far."""
        return [name for (name, _, _), giver in self._given.items() if giver is config]

    def add(self, column: ScoreColumn, config: ComponentConfig, who: str) -> None:
        """Record a column of the scorer `who`; raises `PluginError` if the run already has it, or as another type."""
        key = column.name, str(column.space), column.target
        what = f"the column {quoted(column.name)} of {column.space}"
        if column.target is None and column.name in OF_THE_CORE:
            raise PluginError(f"{who} gave {what}, which every run has; {_next_step(config)}")
        other = self._given.get(key)
        if other is config:
            raise PluginError(f"{who} gave {what} more than once")
        if other is not None:
            raise PluginError(
                f"{other.place} ({other.use}) and {config.place} ({config.use}) both gave {what}; {_next_step(config)}"
            )
        self._given[key] = config
        is_text = column.values.dtype.kind == "U"
        was_text, before = self._is_text.setdefault((column.name, column.target is None), (is_text, column.space))
        if was_text != is_text:
            raise PluginError(
                f"{who} gave {what} with {'text' if is_text else 'numbers'}, and that of {before} with "
                f"{'text' if was_text else 'numbers'}; a column has one or the other"
            )


def undeclared(given: Iterable[str], infos: Collection[ColumnInfo]) -> list[str]:
    """The columns that are given by a component that declares others, but not these."""
    names = list(dict.fromkeys(given))
    known = infos_of(names, infos)
    return [name for name in names if infos and name not in known]


def _next_step(config: ComponentConfig) -> str:
    example = "second" if config.name != "second" else "third"
    return f'give {config.place} its own name, for example name = "{example}", which prefixes its columns'
