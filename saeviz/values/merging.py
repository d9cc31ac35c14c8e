"""Merge what was computed from parts of the images, always in the same tree, whoever computed what and when."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

S = TypeVar("S")

PART_SIZE = 1024
"""Images of a part. Another number would give other rounding, so it is the same for all runs."""


class MergeTree(Generic[S]):
    """Merges the states of the parts 0 to n - 1 in the order of a binary tree that depends on n only.

    So the result is the same to the last bit in whatever order parts arrive. `merge(earlier, later)` gets neighbours
    only. `nodes` holds what waits for a neighbour, by level and number: the node `(l, i)` is of the parts from i * 2^l
    on, 2^l of them. Workers may each have a tree, whose nodes are then added to that of all.
    """

    def __init__(self, merge: Callable[[S, S], S]) -> None:
        self.nodes: dict[tuple[int, int], S] = {}
        self._merge = merge

    def add(self, number: int, state: S, level: int = 0) -> None:
        """Add the state of a part, or that of a node of another tree."""
        while (level, number ^ 1) in self.nodes:
            other = self.nodes.pop((level, number ^ 1))
            state = self._merge(other, state) if number % 2 else self._merge(state, other)
            level, number = level + 1, number // 2
        if (level, number) in self.nodes:
            raise ValueError(f"part {number << level} was added twice")
        self.nodes[level, number] = state

    def result(self) -> S:
        """The state of all parts; raises `ValueError` unless all from 0 on were added once."""
        places = sorted(self.nodes, key=lambda place: place[1] << place[0])
        n_parts = 0
        for level, number in places:
            if number << level != n_parts:
                raise ValueError(f"part {n_parts} is missing, or another was added twice")
            n_parts += 1 << level
        if not places:
            raise ValueError("there are no parts to merge")
        state = self.nodes[places[-1]]
        for place in reversed(places[:-1]):
            state = self._merge(self.nodes[place], state)
        return state
