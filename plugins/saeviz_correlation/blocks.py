"""Correlations from blocks of features, with all images of each."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from saeviz import ScoreColumn
from saeviz_correlation.moments import Correlations
from saeviz_correlation.permutation import LargestCorrelations
from saeviz_correlation.robust import Robust

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from saeviz.typing import CSR
    from saeviz_correlation.targets import Targets

    Arrays = Mapping[str, NDArray[Any]]


class OfBlock(Protocol):
    """What correlates a block with the targets at a place, and permutes these."""

    def __call__(self, place: int, values: CSR, largest: LargestCorrelations | None) -> Correlations:
        """The correlations of the features; what is largest of each permutation is added to `largest`."""
        ...


class CorrelationsInBlocks:
    """Correlates features with these targets, a block at a time (`saeviz.BlockScores`).

    `largest` is for the first of the targets. `columns` makes of the correlations, which are of a `kind`, one for each
    of the targets, and of what was permuted what the scorer yields.
    """

    def __init__(
        self,
        targets: Sequence[Targets],
        largest: Sequence[LargestCorrelations],
        of_block: OfBlock,
        columns: Callable[[list[Correlations], Sequence[LargestCorrelations]], Iterable[ScoreColumn]],
        kind: type[Correlations] = Correlations,
    ) -> None:
        self.targets = targets
        self._largest = largest
        self._of_block = of_block
        self._columns = columns
        self._kind = kind

    def block(self, _features: slice, values: CSR) -> Arrays:
        """The correlations of a block with each of the targets, and the largest of each permutation."""
        found: dict[str, NDArray[Any]] = {}
        for place in range(len(self.targets)):
            largest = self._largest[place].anew() if place < len(self._largest) else None
            arrays = dict(_arrays_in(self._of_block(place, values, largest)))
            arrays |= {} if largest is None else {_PERMUTED + name: array for name, array in largest.state.items()}
            found |= {f"{place}.{name}": array for name, array in arrays.items()}
        return found

    def finish(self, blocks: Iterable[Arrays]) -> Iterable[ScoreColumn]:
        """The columns of all features."""
        parts: list[list[Arrays]] = [[] for _ in self.targets]
        largest = [one.anew() for one in self._largest]
        for arrays in blocks:
            for place, own in enumerate(parts):
                found = _below(arrays, f"{place}.")
                if place < len(largest):
                    largest[place].add_state(_below(found, _PERMUTED))
                own.append({name: array for name, array in found.items() if not name.startswith(_PERMUTED)})
        correlations = [
            _correlations(self._kind, one, _joined(own, self._kind.of_targets_only))
            for one, own in zip(self.targets, parts, strict=True)
        ]
        return self._columns(correlations, largest)


_PERMUTED, _ROBUST = "permuted.", "robust."


def _arrays_in(found: Correlations | Robust, prefix: str = "") -> Iterator[tuple[str, NDArray[Any]]]:
    for field in fields(found):
        value = getattr(found, field.name)
        if isinstance(value, Robust):
            yield from _arrays_in(value, _ROBUST)
        elif isinstance(value, np.ndarray):
            yield prefix + field.name, value


def _correlations(kind: type[Correlations], targets: Targets, arrays: Arrays) -> Correlations:
    own = {name: array for name, array in arrays.items() if not name.startswith(_ROBUST)}
    robust = _below(arrays, _ROBUST)
    return kind(targets, **own, robust=Robust(**robust) if robust else None)


def _joined(parts: Sequence[Arrays], of_targets: Collection[str]) -> Arrays:
    """The arrays of some features, then of others; those of targets are the same for all."""
    return {
        name: array if name in of_targets else np.concatenate([part[name] for part in parts])
        for name, array in parts[0].items()
    }


def _below(arrays: Arrays, prefix: str) -> dict[str, NDArray[Any]]:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
