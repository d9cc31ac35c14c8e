"""Clusters around leaders: every member is like the leader, so that nothing is joined by a chain of small steps."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from saeviz_redundancy.pairs import Pairs, join

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from saeviz_redundancy.pairs import Indices

    FloatArray = NDArray[np.float64]

RANKS_AT_ONCE = 2048
MAX_WAITING = 4_000_000
"""Pairs that wait for their similarity to be told, about."""
TOLERANCE = 1e-9
"""What rounding may take off a similarity: the order of the images must not decide."""


class Evidence(Protocol):
    """A reason to put two features together."""

    threshold: float

    def candidates(self, ranks: Indices, others: Indices) -> Pairs:
        """The pairs of one of `ranks` and an earlier one of `others` that may belong together."""
        ...

    def similarity(self, pairs: Pairs) -> FloatArray:
        """How alike each pair is; NaN where that cannot be told."""
        ...


def blocks(n: int) -> list[Indices]:
    """The ranks 0 to n - 1 in portions."""
    return [np.arange(start, min(start + RANKS_AT_ONCE, n)) for start in range(0, n, RANKS_AT_ONCE)]


def find_leaders(portions: Iterable[Indices], evidence: Sequence[Evidence]) -> Indices:
    """The rank of every feature's leader, int64 `[n]`; a leader's own is itself. `portions` are those of `blocks`.

    In order of rank each feature joins, of the leaders it belongs with, the one it is most like; without any it
    becomes a leader. Candidates are collected and their similarity told in one go, or in several where they are
    very many.
    """
    leader = np.zeros(0, np.int64)
    possible = np.zeros(0, np.int64)
    waiting: list[Pairs] = []
    for ranks in portions:
        leader, possible = np.concatenate([leader, ranks]), np.concatenate([possible, ranks])
        waiting += [reason.candidates(ranks, possible) for reason in evidence]
        if sum(part.later.size for part in waiting) > MAX_WAITING:
            _follow(leader, join(waiting), evidence)
            possible, waiting = possible[leader[possible] == possible], []
    if waiting:
        _follow(leader, join(waiting), evidence)
    return leader


def _follow(leader: Indices, pairs: Pairs, evidence: Sequence[Evidence]) -> None:
    """Let the later ones of `pairs` join a leader among the earlier ones."""
    if not pairs.later.size:
        return
    similarity = np.full(pairs.later.size, -np.inf)
    for reason in evidence:
        told = reason.similarity(pairs)
        similarity = np.where(told >= reason.threshold - TOLERANCE, np.fmax(similarity, told), similarity)
    linked = np.flatnonzero(np.isfinite(similarity))
    # Rounded, so that of two equally good leaders the more active one is taken, whatever the order of the images.
    ordered = linked[np.lexsort((pairs.earlier[linked], -similarity[linked].round(9), pairs.later[linked]))]
    for later, earlier in zip(pairs.later[ordered].tolist(), pairs.earlier[ordered].tolist(), strict=True):
        if leader[later] == later and leader[earlier] == earlier:
            leader[later] = earlier
