"""Which words a group of images has more often than all images have."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple


class Term(NamedTuple):
    """A word with the number of top images and of all images that it stands with."""

    word: str
    n_top: int
    n_all: int
    z: float


def over_represented(
    top: Mapping[str, int], n_top: int, every: Mapping[str, int], n_all: int, *, prior: float
) -> list[Term]:
    """The words of `top`, the most over-represented first.

    z is the log-odds ratio between the top images and all images over its standard error, both with an
    informative Dirichlet prior worth `prior` images in which each word is as frequent as in all images: Monroe,
    Colaresi & Quinn, "Fightin' Words", Political Analysis 16 (2008), eq. 15 to 22. Here an image either has a word or
    not, so "not" is counted in images, and the variance keeps its two terms for the images without the word, which
    the paper drops because in running text they are near zero.
    """
    terms = [
        Term(word, count, every[word], _z(count, n_top, every[word], n_all, prior * every[word] / n_all, prior))
        for word, count in top.items()
    ]
    return sorted(terms, key=lambda term: (-term.z, term.word))


def _z(count: int, n: int, count_all: int, n_all: int, pseudo_count: float, prior: float) -> float:
    with_word, without = count + pseudo_count, n - count + prior - pseudo_count
    with_word_all, without_all = count_all + pseudo_count, n_all - count_all + prior - pseudo_count
    if without_all <= 0:
        return 0.0
    log_odds_ratio = math.log(with_word / without) - math.log(with_word_all / without_all)
    return log_odds_ratio / math.sqrt(1 / with_word + 1 / without + 1 / with_word_all + 1 / without_all)


def confidence(z: float, n_words: int) -> float:
    """How likely chance alone gives no word such a z: (1 - p)^n_words with the one-sided p of z (Šidák).

    In [0, 1]. The more words there are to choose from, the larger z must be.
    """
    p = 0.5 * math.erfc(z / math.sqrt(2))
    return (1 - p) ** n_words
