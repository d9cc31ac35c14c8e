"""Clusters around leaders: every member is like the leader, so that nothing is joined by a chain of small steps."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from saeviz_redundancy.pairs import Pairs, join, take

if TYPE_CHECKING:
    from saeviz.typing import FloatArray, IntArray, Mask


RANKS_AT_ONCE = 512
MAX_WAITING = 2_000_000
"""Roughly how many pairs wait before their similarity is computed."""
FEW = 100_000
"""Pairs computed in one go. If there are more, those with a certain leader come first, which settles most others."""
WORTHWHILE = 0.9
"""Share of the pairs that may be left after such a step for another one, which takes a pass over the images."""
TOLERANCE = 1e-9
"""Tolerance for rounding, so that the order of the images does not decide."""


class Evidence(Protocol):
    """A reason to put two features together."""

    threshold: float

    def candidates(self, ranks: IntArray, others: IntArray) -> Pairs:
        """The pairs of one of `ranks` and an earlier one of `others` that may belong together."""
        ...

    def similarity(self, pairs: Pairs) -> FloatArray:
        """Similarity of each pair; NaN if it cannot be computed."""
        ...


def blocks(n: int) -> list[IntArray]:
    """The ranks 0 to n - 1 in portions."""
    return [np.arange(start, min(start + RANKS_AT_ONCE, n)) for start in range(0, n, RANKS_AT_ONCE)]


def find_leaders(portions: Iterable[IntArray], evidence: Sequence[Evidence]) -> IntArray:
    """The rank of every feature's leader, int64 `[n]`; a leader's own is itself. `portions` are those of `blocks`.

    In order of rank each feature joins, of the leaders it belongs with, the one it is most like; without any it
    becomes a leader.
    """
    leaders = _Leaders(evidence)
    possible = np.zeros(0, np.int64)
    waiting: list[Pairs] = []
    for ranks in portions:
        leaders.add(ranks)
        possible = np.concatenate([possible, ranks])
        waiting += [reason.candidates(ranks, possible) for reason in evidence]
        if sum(part.later.size for part in waiting) > MAX_WAITING:
            leaders.settle(join(waiting))
            possible, waiting = possible[leaders.is_leader(possible)], []
    if waiting:
        leaders.settle(join(waiting))
    return leaders.of


class _Leaders:
    """`of` is the leader of every feature so far. What was settled before does not change."""

    def __init__(self, evidence: Sequence[Evidence]) -> None:
        self.of = np.zeros(0, np.int64)
        self._evidence = evidence
        self._likeness: dict[int, tuple[float, int]] = {}

    def add(self, ranks: IntArray) -> None:
        self.of = np.concatenate([self.of, ranks])

    def is_leader(self, ranks: IntArray) -> Mask:
        return np.asarray(self.of[ranks] == ranks)

    def settle(self, pairs: Pairs) -> None:
        """Let the later ones join leaders among the earlier ones."""
        n_before = np.inf
        while FEW < pairs.later.size < WORTHWHILE * n_before:
            n_before = pairs.later.size
            undecided = np.zeros(self.of.size, dtype=np.bool_)
            undecided[pairs.later] = True
            has_sure_leader = ~undecided[pairs.earlier]
            self._join(take(pairs, has_sure_leader))
            pairs = take(pairs, ~has_sure_leader)
            pairs = take(pairs, self.is_leader(pairs.earlier))
        self._join(pairs)

    def _join(self, pairs: Pairs) -> None:
        if not pairs.later.size:
            return
        pairs, similarity = self._linked(pairs)
        order = np.argsort(pairs.later, kind="stable")  # earlier features are settled before later ones
        triples = (pairs.later[order].tolist(), pairs.earlier[order].tolist(), similarity[order].tolist())
        for later, earlier, likeness in zip(*triples, strict=True):
            offer = (likeness, -earlier)
            if self.of[earlier] == earlier and offer > self._likeness.get(later, (-1.0, 0)):
                self.of[later], self._likeness[later] = earlier, offer

    def _linked(self, pairs: Pairs) -> tuple[Pairs, FloatArray]:
        """The pairs that belong together, and how alike they are.

        Rounded: of two equally good leaders the more active one is taken, whatever the order of the images.
        """
        similarity = np.full(pairs.later.size, -np.inf)
        for reason in self._evidence:
            told = reason.similarity(pairs)
            similarity = np.where(told >= reason.threshold - TOLERANCE, np.fmax(similarity, told), similarity)
        linked = np.isfinite(similarity)
        return take(pairs, linked), similarity[linked].round(9)
