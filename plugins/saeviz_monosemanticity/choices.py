"""Random groups for a pattern of images: so many of one group, so many of another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from saeviz.typing import FloatArray, IntArray

ENOUGH = 0.1
"""Share of independent draws without a group twice from which these are drawn again until they are different."""


class Choice:
    """Different groups with so many images each, so that all sets of images with this pattern are equally likely.

    `sizes` are those of all groups, `pattern` the numbers of images, the largest first. A choice of groups is as likely
    as the product of the ways in which each has its number of images. Where groups drawn independently are often
    different, that is those draws in which they are. Otherwise groups are taken one after another, each with the
    chance that it has its part in all choices of what is left, by their sums over all later groups.
    """

    def __init__(self, sizes: IntArray, pattern: Sequence[int]) -> None:
        self.pattern = tuple(pattern)
        self._wanted, first, self._copies = np.unique(-np.array(pattern), return_index=True, return_counts=True)
        self._wanted, self._starts = -self._wanted, first
        self._log_ways = np.stack([_log_ways(sizes, wanted) for wanted in self._wanted.tolist()])
        self._strides = np.concatenate([[1], np.cumprod(self._copies + 1)])
        self._log_left: FloatArray | None = None

    def draw(self, random: np.random.Generator, count: int) -> IntArray:
        """The number of a group for each part of the pattern, `[count, len(pattern)]`."""
        if self._log_left is None:
            chosen = self._different(random, count)
            if len(chosen) >= ENOUGH * count:
                while len(chosen) < count:
                    chosen = np.concatenate([chosen, self._different(random, count)])
                return chosen[:count]
            self._log_left = self._sums()
        return self._one_after_another(random, count, self._log_left)

    def _different(self, random: np.random.Generator, count: int) -> IntArray:
        """Of `count` independent draws those in which all groups are different."""
        chosen = np.empty((count, self._copies.sum()), dtype=np.int64)
        for logs, start, copies in zip(self._log_ways, self._starts, self._copies, strict=True):
            cumulative = np.cumsum(np.exp(logs))
            drawn = np.searchsorted(cumulative, random.random((count, copies)) * cumulative[-1], side="right")
            chosen[:, start : start + copies] = np.minimum(drawn, np.flatnonzero(np.isfinite(logs))[-1])
        ordered = np.sort(chosen, axis=1)
        return np.asarray(chosen[(ordered[:, 1:] != ordered[:, :-1]).all(axis=1)])

    def _sums(self) -> FloatArray:
        """The logarithm of the sum over all choices from the groups from each on, `[n_groups + 1, n_states]`.

        A state says how many of each number of images are still to be placed.
        """
        states = np.arange(self._strides[-1])
        left = states[:, None] // self._strides[:-1] % (self._copies + 1)
        log_left = np.full((self._log_ways.shape[1] + 1, states.size), -np.inf)
        log_left[-1, 0] = 0.0
        for group in reversed(range(self._log_ways.shape[1])):
            log_left[group] = log_left[group + 1]
            for place, stride in enumerate(self._strides[:-1]):
                if np.isfinite(self._log_ways[place, group]):
                    open_states = states[left[:, place] > 0]
                    taken = self._log_ways[place, group] + log_left[group + 1, open_states - stride]
                    log_left[group, open_states] = np.logaddexp(log_left[group, open_states], taken)
        return log_left

    def _one_after_another(self, random: np.random.Generator, count: int, log_left: FloatArray) -> IntArray:
        chosen = np.empty((count, self._copies.sum()), dtype=np.int64)
        state = np.full(count, self._strides[-1] - 1)
        chances = np.empty((count, self._wanted.size + 1))
        for group, logs in enumerate(self._log_ways.T):
            left = state[:, None] // self._strides[:-1] % (self._copies + 1)
            chances[:, 0] = log_left[group + 1, state]
            for place, stride in enumerate(self._strides[:-1]):
                taken = logs[place] + log_left[group + 1, np.maximum(state - stride, 0)]
                chances[:, place + 1] = np.where(left[:, place] > 0, taken, -np.inf)
            up_to = np.cumsum(np.exp(chances - log_left[group, state][:, None]), axis=1)
            option = (up_to <= random.random(count)[:, None] * up_to[:, -1:]).sum(axis=1)
            for place, stride in enumerate(self._strides[:-1]):
                rows = np.flatnonzero(option == place + 1)
                chosen[rows, self._starts[place] + self._copies[place] - left[rows, place]] = group
                state[rows] -= stride
        for start, copies in zip(self._starts, self._copies, strict=True):
            same = slice(start, start + copies)
            chosen[:, same] = random.permuted(chosen[:, same], axis=1)
        return chosen


def _log_ways(sizes: IntArray, wanted: int) -> FloatArray:
    """The logarithm of the number of ways to have so many images of each group, less that of the largest number."""
    from scipy.special import gammaln

    enough = sizes >= wanted
    left = np.where(enough, sizes - wanted, 0)
    logs = np.where(enough, gammaln(sizes + 1) - gammaln(left + 1), -np.inf)
    return np.asarray(logs - logs.max())
