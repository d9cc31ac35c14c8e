"""The labeler: the terms of a vocabulary that fit the top images better than random images."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import saeviz
from saeviz_clip_vocabulary import ClipVocabularyOptions
from saeviz_clip_vocabulary.calibration import NAME_IS_RIGHT, TERM_APPLIES
from saeviz_clip_vocabulary.fit import Fit
from saeviz_clip_vocabulary.vocabulary import BUILT_IN, read_terms, refuse_sentences, tidy

if TYPE_CHECKING:
    from saeviz.typing import Float32Array, FloatArray

TABLE_ROWS = 5


class ClipVocabulary:
    """Names a feature by the term that, in CLIP, matches its top images best compared with random images.

    A term's score is `Fit.scores`: with the similarity s(i, t) of image i and term t, the mean of s(i, t) over the top
    images, weighted by activation, minus its mean over random images, divided by its standard deviation over these.
    Chance is the score that the best of all terms exceeds for one in twenty groups of random images. `confidence` is
    the probability that the name is right, from how far its score is above chance; see `calibration`.

    It judges by the same measure: how far one image's similarity to the words is above that of random images.
    """

    def __init__(self, options: ClipVocabularyOptions, context: saeviz.Context) -> None:
        self.options = options
        self.context = context
        self._terms = tidy(options.terms) or read_terms(options.vocabulary or BUILT_IN, context.option("vocabulary"))
        refuse_sentences(self._terms, context.option("terms" if options.terms else "vocabulary"))
        self._clip = _clip(options.clip_checkpoint, context)
        self._vectors: dict[str, Float32Array] = {}
        self._fitted: tuple[Sequence[saeviz.ImageItem], Fit] | None = None
        self._random: Float32Array | None = None

    def label(self, request: saeviz.LabelRequest) -> saeviz.FeatureLabel:
        """The best term; '' if it fits the top images no better than chance.

        `elements` are the next best terms above chance; `details` has the five best with their scores, and chance.
        Raises `LabelError` if none of the top images, or fewer than two random ones, can be read.
        """
        if not request.top:
            return saeviz.FeatureLabel("", "the feature is not active on any image", confidence=0.0)
        fit = self._fit(request)
        top, weights = self._top(request)
        scores = fit.scores(top @ self._texts.T, weights)
        return self._label(scores, fit.chance(weights, self._generator()))

    def judge(self, label: saeviz.FeatureLabel, images: Sequence[saeviz.ImageItem]) -> FloatArray:
        """Probability `[n]` that the label applies, assuming that it applies to half of the images; NaN if unreadable.

        The description is ignored, because it is too long for CLIP. Raises `LabelError` if fewer than two random images
        of the run can be read.
        """
        return TERM_APPLIES(self.closeness(label.label, images))

    def closeness(self, words: str, images: Sequence[saeviz.ImageItem]) -> FloatArray:
        """`[n]`: how far the similarity to the words is above that of random images, in their standard deviations."""
        if self._random is None:
            self._random = self._drawn(list(self.context.peer("images").iter_images()))
        if len(self._random) < 2:
            raise saeviz.LabelError("fewer than two random images to compare with can be read")
        text = self._embed_terms([words]).T
        return Fit(self._random @ text).standardised((self._embed(images) @ text).astype(float))[:, 0]

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
            confidence=float(NAME_IS_RIGHT(score - chance)),
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
        dataset = request.dataset
        if self._fitted is None or self._fitted[0] is not dataset:
            vectors = self._drawn(dataset)
            if len(vectors) < 2:
                raise saeviz.LabelError(f"{request.feature}: fewer than two random images to compare with can be read")
            self._fitted = dataset, Fit(vectors @ self._texts.T)
        return self._fitted[1]

    def _drawn(self, dataset: Sequence[saeviz.ImageItem]) -> Float32Array:
        """Vectors of the readable ones of some random images, `[n, dim]`."""
        import numpy as np

        drawn = self._generator().permutation(len(dataset))[: self.options.random_images]
        vectors = self._embed([dataset[index] for index in drawn])
        return vectors[np.isfinite(vectors).all(axis=1)] if len(vectors) else vectors

    def _embed(self, items: Sequence[saeviz.ImageItem]) -> Float32Array:
        """`[n, dim]`; an image that several features share is embedded once."""
        import numpy as np

        new = list({item.item_id: item for item in items if item.item_id not in self._vectors}.values())
        if new:
            vectors = self._clip.embed_images(new)
            self._vectors.update(zip((item.item_id for item in new), vectors, strict=True))
        n_dims = self._texts.shape[1]
        return np.array([self._vectors[item.item_id] for item in items], dtype=np.float32).reshape(-1, n_dims)

    @cached_property
    def _texts(self) -> Float32Array:
        return self._embed_terms(self._terms)

    def _embed_terms(self, terms: Sequence[str]) -> Float32Array:
        """`[n_terms, dim]`: per term the mean over the templates, of unit length."""
        import numpy as np

        total = sum(
            self._clip.embed_texts([template.replace("{}", term) for term in terms])
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
            f"{context.option('clip_checkpoint')}: the extractor of this run has no text encoder; name the open_clip "
            "tag or the checkpoint file of a CLIP here, or use the labeler 'metadata-terms'"
        )
    return clip
