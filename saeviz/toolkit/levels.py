"""Targets from columns of text: categories, cells with several labels, levels in an order."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

from saeviz.toolkit.cells import Cell, listed, metadata_text, nested_kind, shown
from saeviz.toolkit.column_options import ColumnOptions
from saeviz.values.errors import ConfigError

SEPARATOR = ";"


@dataclass(frozen=True)
class Order:
    """An ordinal column: `codes` gives the number of each level, from 0, by its text."""

    codes: Mapping[str, int]

    def number(self, cell: Cell) -> float | None:
        """The code of a cell, None if it is not one of the levels."""
        code = self.codes.get(level_text(cell))
        return None if code is None else float(code)


@dataclass(frozen=True)
class Levels:
    """The targets from a column: `names` maps levels to targets; `several`: a cell may have several levels."""

    column: str
    several: bool
    names: Mapping[str, str]

    def of(self, cell: Cell) -> frozenset[str] | None:
        """The levels in a cell, including those that are not targets; None if the cell is missing."""
        return labels(cell) if self.several else _category(cell)

    def targets(self, cell: Cell) -> dict[str, float]:
        """1 for each target that a cell has, 0 for the others; empty if the cell is missing."""
        found = self.of(cell)
        if found is None:
            return {}
        values = dict.fromkeys(self.names.values(), 0.0)
        values.update((self.names[level], 1.0) for level in found if level in self.names)
        return values


def level_text(cell: Cell) -> str:
    """A cell as the name of a level, on one line; '' where it is missing."""
    return " ".join(metadata_text(cell).split())


def labels(cell: Cell) -> frozenset[str] | None:
    """The labels in a cell: a list, text with a list in JSON, or text with `;` between them.

    None if it is missing; the empty set for a list without entries.
    """
    if nested_kind(cell) == "lists":
        return _all_of(list(cell))
    text = metadata_text(cell)
    entries = _entries(text) if text[:1] == "[" and text[-1:] == "]" else None
    return _all_of(text.split(SEPARATOR) if entries is None else entries) if text else None


def choose_levels(
    columns: Mapping[str, Sequence[Cell]],
    options: ColumnOptions,
    where: str,
    images: Sequence[Hashable] | None = None,
) -> tuple[list[Levels], dict[str, Order], list[str]]:
    """The targets of the columns that `options` name as text, and notes on what is left out.

    `images` says which image each row is about; by default each is about one of its own. Raises `ConfigError` for a
    column with nothing in it, and where a target would be called like a column or another target.
    """
    orders = {name: _order(name, levels, columns[name], where) for name, levels in options.ordinals.items()}
    found, notes, taken = [], [], set(columns)
    columns_of = {"categories": options.categories, "multi_labels": options.multi_labels}
    for option, name in [(option, name) for option, names in columns_of.items() for name in dict.fromkeys(names)]:
        several = option == "multi_labels"
        cells = list(map(labels if several else _category, columns[name]))
        if all(cell is None for cell in cells):
            raise ConfigError(f"images.{option}: {name!r} of {where} has no values")
        counts = _rarer_side(cells, images or range(len(cells)))
        targets = {level: f"{name}={level}" for level, count in counts.items() if count >= options.min_images}
        if (twice := next((target for target in targets.values() if target in taken), None)) is not None:
            raise ConfigError(
                f"images.{option}: two targets or columns of {where} are called {twice!r}; rename a column"
            )
        taken.update(targets.values())
        found.append(Levels(name, several, targets))
        notes += _left_out(name, [level for level in counts if level not in targets], len(counts), options.min_images)
    return found, orders, notes


def _category(cell: Cell) -> frozenset[str] | None:
    text = level_text(cell)
    return frozenset([text]) if text else None


def _all_of(parts: Sequence[Cell]) -> frozenset[str] | None:
    found = frozenset(map(level_text, parts)) - {""}
    return found if found or not parts else None


def _entries(text: str) -> list[Cell] | None:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, list) else None


def _order(name: str, levels: Sequence[str], cells: Sequence[Cell], where: str) -> Order:
    order = Order({level: code for code, level in enumerate(map(level_text, levels))})
    filled = [cell for cell in cells if level_text(cell)]
    if not any(order.number(cell) is not None for cell in filled):
        first = f"its first value is {shown(filled[0])}" if filled else "it has no values"
        raise ConfigError(f"images.ordinals: no value of {name!r} of {where} is one of its levels; {first}")
    return order


def _rarer_side(cells: Sequence[frozenset[str] | None], images: Sequence[Hashable]) -> dict[str, int]:
    """For each level the number of images that have it, or of those that lack it, whichever is smaller.

    Where an image has several rows, that of another rater each, one that has it in some of them counts on both sides.
    """
    rows_of = Counter(image for image, cell in zip(images, cells, strict=True) if cell is not None)
    pairs = Counter((level, image) for image, cell in zip(images, cells, strict=True) for level in sorted(cell or ()))
    n_with: Counter[str] = Counter()
    n_throughout: Counter[str] = Counter()
    for (level, image), n_rows in pairs.items():
        n_with[level] += 1
        n_throughout[level] += n_rows == rows_of[image]
    return {level: min(count, len(rows_of) - n_throughout[level]) for level, count in n_with.items()}


def _left_out(name: str, levels: Sequence[str], n_levels: int, least: int) -> list[str]:
    if not levels:
        return []
    are, it = ("are not targets", "them") if len(levels) > 1 else ("is not a target", "it")
    return [
        f"{len(levels)} of {n_levels} levels of {name!r} {are}, because fewer than {least} images have or lack {it} "
        f"(images.min_images): {listed([repr(level[:60]) for level in levels])}"
    ]
