"""Features that words describe: those that fire where images are like the words, by the model's own text encoder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from saeviz.contract.roles import TextAligned
from saeviz.pipeline.blame import blaming
from saeviz.results.run import Run
from saeviz.serving.live.answers import NAMED, Json, named, strongest
from saeviz.serving.live.background import Background
from saeviz.serving.live.endpoint import NUMBER, TEXT, WHOLE, Endpoint, Query, fields, listed
from saeviz.serving.live.neighbours import NEGLIGIBLE
from saeviz.serving.live.opened import Live
from saeviz.values.errors import DataError
from saeviz.values.features import Feature, FeatureSpace
from saeviz.values.images import ImageItem

if TYPE_CHECKING:
    from saeviz.typing import CSR, Float32Array, FloatArray

MOST_IMAGES = 1000
"""Images that words are compared with; of more a random sample."""
AT_ONCE = 16
"""Images that are embedded before the model is free for another request."""
MIN_ACTIVE = 5
"""Images on which a feature must fire."""
DRAWS = 39
"""Random orders of the images: of 40 with the true one, the best of all features is among the 2 best of one in 20."""
FOUND = 60
NEAREST = 12
LONGEST = 300
"""Characters; a text encoder reads some seventy words."""
WORDS = Query("text", "words that describe what is looked for, such as `a dog on a beach`")
DESCRIBED = fields(
    "While images are embedded for the first request, `ready` is false: ask again. `r` is the correlation over "
    "`n_images` of a feature's activation with the image's similarity to the words, and `chance` what the best of all "
    "features exceeds for one in twenty random orders of images.",
    text=TEXT,
    ready={"type": "boolean"},
    n_done=WHOLE,
    n_images=WHOLE,
    features=listed(fields(**NAMED, r=NUMBER, n_active=WHOLE)),
    chance=NUMBER,
    images=listed(fields(item=TEXT, similarity=NUMBER)),
)


@dataclass(frozen=True)
class Compared:
    """Images with their embeddings `[n, dim]` in the joint space and their features."""

    items: Sequence[ImageItem]
    vectors: Float32Array
    rows: list[tuple[FeatureSpace, CSR]]

    @cached_property
    def scales(self) -> list[FloatArray]:
        """For each space 1 / (n times the deviation) of each feature; 0 for those that fire too rarely."""
        n, found = len(self.items), []
        for _, matrix in self.rows:
            values = matrix.data.astype(np.float64)
            totals, squares = (np.bincount(matrix.indices, of, matrix.shape[1]) for of in (values, values**2))
            variation = squares - totals**2 / n
            spread = np.sqrt(np.maximum(variation, 0) / n)
            usable = (self.active(matrix) >= MIN_ACTIVE) & (variation > NEGLIGIBLE * squares)
            found.append(np.where(usable, 1 / (n * np.where(usable, spread, 1)), 0.0))
        return found

    @staticmethod
    def active(matrix: CSR) -> Any:
        """On how many of the images each feature fires."""
        return np.bincount(matrix.indices, minlength=matrix.shape[1])

    def correlations(self, z: FloatArray) -> list[FloatArray]:
        """For each space the r of each feature with standardised values `[n, k]` of the images, `[n_features, k]`."""
        scaled = zip(self.rows, self.scales, strict=True)
        return [np.asarray(matrix.T @ z) * scale[:, None] for (_, matrix), scale in scaled]


def find(run: Run, compared: Compared, words: Float32Array) -> dict[str, Any]:
    """The features that follow the similarity of images to an embedded text; see `DESCRIBED`."""
    similarity = compared.vectors.astype(np.float64) @ words
    z = (similarity - similarity.mean()) / max(float(similarity.std()), 1e-12)
    found: list[tuple[float, Feature, int]] = []
    for (space, matrix), r in zip(compared.rows, compared.correlations(z[:, None]), strict=True):
        active = compared.active(matrix)
        for index in strongest(r[:, 0], FOUND).tolist():
            if r[index, 0] > 0:
                found.append((float(r[index, 0]), space.feature(index), int(active[index])))
    found.sort(key=lambda one: (-one[0], one[1]))
    nearest = strongest(similarity, NEAREST).tolist()
    return {
        "features": [named(run, feature, r=r, n_active=n_active) for r, feature, n_active in found[:FOUND]],
        "chance": _chance(compared, z),
        "images": [{"item": compared.items[row].item_id, "similarity": float(similarity[row])} for row in nearest],
    }


def _chance(compared: Compared, z: FloatArray) -> float:
    generator = np.random.default_rng(0)
    shuffled = np.column_stack([generator.permutation(z) for _ in range(DRAWS)])
    largest = np.max([r.max(axis=0) for r in compared.correlations(shuffled)], axis=0)
    return float(np.sort(largest)[-2])


def sample(live: Live) -> list[ImageItem]:
    """The images that words are compared with, in the order of the run."""
    items = live.run.items
    chosen = np.sort(np.random.default_rng(0).permutation(len(items))[:MOST_IMAGES])
    return [items[place] for place in chosen.tolist()]


def routes(live: Live) -> list[Endpoint]:
    """`/api/words?text=a dog`."""

    def encoder() -> TextAligned:
        extractor = live.run.component("extractor")
        if not isinstance(extractor, TextAligned):
            raise DataError(f"{live.session.config.extractors_in_words} cannot read words: there is no text encoder")
        return extractor

    def embed_images(items: Sequence[ImageItem]) -> Float32Array:
        with blaming("the text encoder's model", log=None):
            return np.asarray(encoder().embed_images(items), np.float32)

    def embed_text(text: str) -> Float32Array:
        with blaming("the text encoder", log=None):
            return np.asarray(encoder().embed_texts([text])[0], np.float32)

    def compare(items: Sequence[ImageItem], parts: Sequence[Float32Array]) -> Compared:
        vectors = np.concatenate(parts)
        readable = np.flatnonzero(np.isfinite(vectors).all(axis=1)).tolist()
        if len(readable) < MIN_ACTIVE:
            raise DataError("too few images of the run can be read to compare words with them")
        kept = [items[row] for row in readable]
        ids = [item.item_id for item in kept]
        stored = ((space, live.run.batches(space, ids)) for space in live.run.spaces)
        rows = [(space, space.stack(batch.matrix for batch in batches)) for space, batches in stored]
        return Compared(kept, vectors[readable], rows)

    async def prepare(background: Background[Compared]) -> Compared:
        await live.with_model(encoder)
        items = await live.with_store(sample, live)
        background.total, parts = len(items), []
        for start in range(0, len(items), AT_ONCE):
            parts.append(await live.with_model(embed_images, items[start : start + AT_ONCE]))
            background.done = min(start + AT_ONCE, len(items))
        return await live.with_store(compare, items, parts)

    prepared = Background(prepare)

    async def words(request: Request) -> Response:
        text = WORDS.text(request).strip()
        if not 0 < len(text) <= LONGEST:
            raise HTTPException(400, f"text must have 1 to {LONGEST} characters")
        compared = await prepared.result()
        if compared is None:
            n = {"n_done": prepared.done, "n_images": prepared.total}
            return Json({"text": text, "ready": False, **n, "features": [], "chance": 0.0, "images": []})
        n = {"n_done": len(compared.items), "n_images": len(compared.items)}
        vector = await live.with_model(embed_text, text)
        return Json({"text": text, "ready": True, **n, **await live.with_store(find, live.run, compared, vector)})

    summary = "The features that fire where images are like some words."
    return [Endpoint("/api/words", words, summary, query=[WORDS], answer=DESCRIBED)]
