"""The labeler: words of the top images against words of all images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, permutations
from typing import TYPE_CHECKING

import saeviz
from saeviz_metadata_terms import MetadataTermsOptions
from saeviz_metadata_terms.log_odds import Term, confidence, over_represented
from saeviz_metadata_terms.words import STOPWORDS, words

if TYPE_CHECKING:
    from saeviz.typing import FloatArray

COLUMNS = ("title", "tags", "theme", "caption", "keywords", "concepts", "description")
TABLE_ROWS = 10


@dataclass(frozen=True)
class _Background:
    """The words of all images: on how many images each stands, and how many images have any."""

    dataset: Sequence[saeviz.ImageItem]
    columns: frozenset[str]
    counts: Mapping[str, int]
    n_images: int


class MetadataTerms:
    """Names a feature by the words over-represented among its top images; see `over_represented` for the measure.

    `confidence` is that of the strongest word, as `confidence` defines it. A feature none of whose words reach
    `min_confidence` gets the label '' and a description that says so.
    """

    def __init__(self, options: MetadataTermsOptions, context: saeviz.Context) -> None:
        self.options = options
        self.context = context
        self._stopwords = STOPWORDS | {word.casefold() for word in options.stopwords}
        self._known: _Background | None = None

    def label(self, request: saeviz.LabelRequest) -> saeviz.FeatureLabel:
        """The strongest words; those that follow each other in the texts make a phrase.

        `elements` are these words, strongest first; `details["terms"]` lists the ten strongest words with their counts
        and z. Raises `ConfigError` if no image has a column to read.
        """
        background = self._background(request.dataset)
        texts = [text for image in request.top if (text := self._words(image.item, background.columns))]
        if not texts:
            return saeviz.FeatureLabel("", "none of the top images has any text", confidence=0.0)
        counts = Counter(word for text in texts for word in set(text))
        # A caller's dataset may lack some of the top images; a run's has them all.
        every = {word: max(count, background.counts[word]) for word, count in counts.items()}
        n_all = max(len(texts), background.n_images)
        terms = over_represented(counts, len(texts), every, n_all, prior=self.options.prior)
        return self._label(terms, texts, n_all, background)

    def judge(self, label: saeviz.FeatureLabel, images: Sequence[saeviz.ImageItem]) -> FloatArray:
        """`[n]`: the share of the label's words that stand with an image; NaN where an image has no words.

        Raises `LabelError` for a label without words of its own.
        """
        import numpy as np

        wanted = set(words(label.label, self._stopwords))
        if not wanted:
            raise saeviz.LabelError(f"the label {label.label!r} has no word to look for")
        columns = self._existing(images)
        texts = [set(self._words(item, columns)) for item in images]
        return np.array([len(wanted & text) / len(wanted) if text else np.nan for text in texts], dtype=np.float64)

    def _label(
        self, terms: list[Term], texts: list[list[str]], n_all: int, background: _Background
    ) -> saeviz.FeatureLabel:
        details = {
            "columns": sorted(background.columns),
            "n_top": len(texts),
            "n_all": n_all,
            "terms": [term._asdict() | {"z": round(term.z, 2)} for term in terms[:TABLE_ROWS]],
        }
        frequent = [term for term in terms if term.n_top >= self.options.min_count and term.z > 0]
        candidates = [word for word, count in background.counts.items() if count >= self.options.min_count]
        n_candidates = max(len(candidates), len(frequent))
        sure = {term: confidence(term.z, n_candidates) for term in frequent}
        chosen = [term for term in frequent if sure[term] >= self.options.min_confidence][: self.options.max_words]
        if not chosen:
            return saeviz.FeatureLabel(
                "",
                "no word occurs with the top images more often than expected by chance",
                confidence=max(sure.values(), default=0.0),
                details=details,
            )
        return saeviz.FeatureLabel(
            label=_phrase([term.word for term in chosen], texts),
            description="; ".join(_counted(term, len(texts), n_all) for term in chosen),
            elements=tuple(term.word for term in chosen),
            confidence=sure[chosen[0]],
            details=details,
        )

    def _background(self, dataset: Sequence[saeviz.ImageItem]) -> _Background:
        if self._known is None or self._known.dataset is not dataset:
            columns = self._columns(dataset)
            texts = [set(self._words(item, columns)) for item in dataset]
            counts = Counter(word for text in texts for word in text)
            self._known = _Background(dataset, columns, counts, n_images=sum(map(bool, texts)))
        return self._known

    def _columns(self, dataset: Sequence[saeviz.ImageItem]) -> frozenset[str]:
        """Those columns of the data that are to be read, in their own spelling."""
        existing = {column for item in dataset for column in item.metadata}
        names = {column.casefold() for column in existing}
        absent = [column for column in self.options.columns if column.casefold() not in names]
        found = self._existing(dataset)
        if absent or not found:
            have = f"they have {', '.join(sorted(existing))}" if existing else "they have no metadata at all"
            missing = repr(absent[0]) if absent else " or ".join(COLUMNS)
            raise saeviz.ConfigError(
                f"{self.context.option('columns')}: no image has a column {missing}; {have}; "
                "name some of these or use another labeler"
            )
        return found

    def _existing(self, items: Sequence[saeviz.ImageItem]) -> frozenset[str]:
        wanted = {column.casefold() for column in self.options.columns or COLUMNS}
        return frozenset(column for item in items for column in item.metadata if column.casefold() in wanted)

    def _words(self, item: saeviz.ImageItem, columns: frozenset[str]) -> list[str]:
        texts = (text for column, text in sorted(item.metadata.items()) if column in columns)
        return [word for text in texts for word in words(text, self._stopwords)]


def _phrase(chosen: list[str], texts: list[list[str]]) -> str:
    """Words that follow each other in a text are joined, the others separated by commas."""
    following = {pair for text in texts for pair in pairwise(text)}
    phrases = [[word] for word in chosen]
    while pair := next((pair for pair in permutations(phrases, 2) if (pair[0][-1], pair[1][0]) in following), None):
        first, second = pair
        place = min(phrases.index(first), phrases.index(second))
        phrases = [phrase for phrase in phrases if phrase not in pair]
        phrases.insert(place, first + second)
    return ", ".join(" ".join(phrase) for phrase in phrases)


def _counted(term: Term, n_top: int, n_all: int) -> str:
    return f"“{term.word}” in {term.n_top} of {n_top} top images, {100 * term.n_all / n_all:.1f} % of all"
