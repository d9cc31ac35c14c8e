"""Correlations from parts of the images."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from saeviz import ScoreColumn, ScoreInput
from saeviz_correlation.moments import Correlations, RatedSums, correlations_from, merged_sums, rated_sums

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from saeviz.typing import CSR
    from saeviz_correlation.targets import Targets

    State = Mapping[str, NDArray[Any]]


class CorrelationsInParts:
    """Merges the sums from which correlations with these targets follow (`saeviz.MergingScores`).

    `prepare` makes of features what is correlated, `columns` of the correlations, one for each of the targets, what the
    scorer yields.
    """

    def __init__(
        self,
        targets: Sequence[Targets],
        prepare: Callable[[CSR], CSR],
        columns: Callable[[list[Correlations]], Iterable[ScoreColumn]],
    ) -> None:
        self._targets = targets
        self._prepare = prepare
        self._columns = columns

    def partial(self, part: ScoreInput) -> State:
        """The sums of a part, with each of the targets."""
        matrix = self._prepare(part.matrix())
        rows = part.rows or slice(None)
        return _as_state([rated_sums(one, rows, matrix) for one in self._targets])

    def merge(self, earlier: State, later: State) -> State:
        """The sums of both."""
        pairs = zip(self._sums(earlier), self._sums(later), strict=True)
        return _as_state([merged_sums(one, other) for one, other in pairs])

    def finish(self, state: State) -> Iterable[ScoreColumn]:
        """The columns of all images."""
        return self._columns(self.correlations(state))

    def correlations(self, state: State) -> list[Correlations]:
        """The correlations over all images."""
        return [correlations_from(*pair) for pair in zip(self._targets, self._sums(state), strict=True)]

    def _sums(self, state: State) -> list[RatedSums]:
        return [
            RatedSums(*(state[f"{name}.{place}"] for name in RatedSums._fields)) for place in range(len(self._targets))
        ]


def _as_state(sums: Sequence[RatedSums]) -> State:
    return {f"{name}.{place}": array for place, one in enumerate(sums) for name, array in one._asdict().items()}
