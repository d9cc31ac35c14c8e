"""The labeler: the terms of a vocabulary that fit the top images better than random images."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import saeviz
from saeviz_clip_vocabulary import ClipVocabularyOptions
from saeviz_clip_vocabulary.fit import Fit
from saeviz_clip_vocabulary.vocabulary import BUILT_IN, read_terms

if TYPE_CHECKING:
    from saeviz.typing import Float32Array, FloatArray

TABLE_ROWS = 5


class ClipVocabulary:
    """Names a feature by the term whose text, to CLIP, fits its top images best compared with random images.

    A term's score is `Fit.scores`, the top images weighted by their activation. `confidence` is 1 - chance / score
    of the best term, not below 0, where chance is the score that the best of all terms exceeds for one in twenty
    groups of random images: 0 says no better than chance, 0.75 four times as far from random images as chance gets.
    """

    def __init__(self, options: ClipVocabularyOptions, context: saeviz.Context) -> None:
        self.options = options
        self.context = context
        self._terms = read_terms(options.vocabulary or BUILT_IN)
        self._clip = _clip(options.clip_checkpoint, context)
        self._vectors: dict[str, Float32Array] = {}
        self._fitted: tuple[Sequence[saeviz.ImageItem], Fit] | None = None

    def label(self, request: saeviz.LabelRequest) -> saeviz.FeatureLabel:
        """The best term; '' where it fits the top images no better than chance.

        `elements` are the next best terms above chance; `details` has the five best with their scores, and chance.
        Raises `LabelError` where none of the top images can be read, or not two random ones.
        """
        if not request.top:
            return saeviz.FeatureLabel("", "no image activates the feature", confidence=0.0)
        fit = self._fit(request)
        top, weights = self._top(request)
        scores = fit.scores(top @ self._texts.T, weights)
        return self._label(scores, fit.chance(weights, self._generator()))

    def _label(self, scores: FloatArray, chance: float) -> saeviz.FeatureLabel:
        import numpy as np

        best = [(self._terms[index], float(scores[index])) for index in np.argsort(-scores, kind="stable")[:TABLE_ROWS]]
        details = {
            "terms": [{"term": term, "score": round(score, 3)} for term, score in best],
            "chance": round(chance, 3),
        }
        above_chance = [(term, score) for term, score in best if score > chance]
        if not above_chance:
            reason = "no term of the vocabulary fits the top images better than random images"
            return saeviz.FeatureLabel("", reason, confidence=0.0, details=details)
        (term, score), *others = above_chance
        return saeviz.FeatureLabel(
            label=term,
            description=f"“{term}” fits the top images {score:.1f} standard deviations better than random images",
            elements=tuple(term for term, _ in others),
            confidence=1 - chance / score,
            details=details,
        )

    def _top(self, request: saeviz.LabelRequest) -> tuple[Float32Array, FloatArray]:
        """Vectors of the readable top images `[n, dim]`, and their weights, which sum to 1."""
        import numpy as np

        vectors = self._embed([image.item for image in request.top])
        readable = np.isfinite(vectors).all(axis=1)
        if not readable.any():
            raise saeviz.LabelError(f"{request.feature}: none of its {len(request.top)} top images can be read")
        weights = np.array([max(image.activation, 0.0) for image in request.top])[readable]
        if not weights.any():
            weights[:] = 1.0
        return vectors[readable], weights / weights.sum()

    def _fit(self, request: saeviz.LabelRequest) -> Fit:
        import numpy as np

        dataset = request.dataset
        if self._fitted is None or self._fitted[0] is not dataset:
            drawn = self._generator().permutation(len(dataset))[: self.options.random_images]
            embedded = self._embed([dataset[index] for index in drawn])
            vectors = [vector for vector in embedded if np.isfinite(vector).all()]
            if len(vectors) < 2:
                raise saeviz.LabelError(f"{request.feature}: fewer than two random images to compare with can be read")
            self._fitted = dataset, Fit(np.array(vectors) @ self._texts.T)
        return self._fitted[1]

    def _embed(self, items: Sequence[saeviz.ImageItem]) -> Float32Array:
        """`[n, dim]`; an image that several features share is embedded once."""
        import numpy as np

        new = list({item.item_id: item for item in items if item.item_id not in self._vectors}.values())
        if new:
            vectors = self._clip.embed_images(new)
            self._vectors.update(zip((item.item_id for item in new), vectors, strict=True))
        return np.array([self._vectors[item.item_id] for item in items], dtype=np.float32)

    @cached_property
    def _texts(self) -> Float32Array:
        """`[n_terms, dim]`: per term the mean over the templates, of unit length."""
        import numpy as np

        total = sum(
            self._clip.embed_texts([template.replace("{}", term) for term in self._terms])
            for template in self.options.templates
        )
        vectors = np.asarray(total, dtype=np.float32)
        unit: Float32Array = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.float32(1e-12))
        return unit

    def _generator(self) -> Any:
        import numpy as np

        return np.random.default_rng(self.context.seed)


def _clip(checkpoint: str | None, context: saeviz.Context) -> saeviz.TextAligned:
    if checkpoint is None:
        clip = context.peer("extractor")
    else:
        clip = saeviz.component("extractor", "clip-b32-prisma", context=context, clip_checkpoint=checkpoint)
    if not isinstance(clip, saeviz.TextAligned):
        raise saeviz.ConfigError(
            "labeler.clip_checkpoint: the extractor of this run has no text tower to borrow; name the open_clip tag or "
            "the checkpoint file of a CLIP here, or use the labeler 'metadata-terms'"
        )
    return clip
