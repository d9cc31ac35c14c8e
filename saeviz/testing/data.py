"""Small synthetic inputs for components. The same seed gives the same data."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import nan
from pathlib import Path
from typing import TYPE_CHECKING, Any

from saeviz.contract.context import Context
from saeviz.testing.fake_images import HOSTILE_IDS
from saeviz.testing.fakes import FakeExtractor, FakeExtractorOptions, FakeImages, FakeImagesOptions
from saeviz.values.errors import ConfigError
from saeviz.values.features import FeatureBatch, FeatureSpace
from saeviz.values.images import ImageItem
from saeviz.values.keys import KEYS
from saeviz.values.naming import LabelRequest, TopImage
from saeviz.values.score_input import ScoreInput
from saeviz.values.scores import Relation, ScoreTable
from saeviz.values.streams import FeatureStream

if TYPE_CHECKING:
    import numpy as np

    from saeviz.typing import FloatArray

__all__ = [
    "HOSTILE_IDS",
    "Surroundings",
    "label_request",
    "pictures",
    "random_batch",
    "score_input",
    "score_table",
]


@dataclass
class Surroundings:
    """A context for one component under test, which records what the component reports."""

    workdir: Path
    items: Sequence[ImageItem] = ()
    failures: list[tuple[str, str]] = field(default_factory=list)

    @property
    def context(self) -> Context:
        """The context: CPU, offline; its peers are a `FakeExtractor` and a provider of `items`."""
        return Context(
            device="cpu",
            workdir=self.workdir / "work",
            cache_dir=self.workdir / "cache",
            offline=True,
            failed=lambda subject, error: self.failures.append((subject, error)),
            peer=self._peer,
        )

    def _peer(self, role: str) -> Any:
        if role == "extractor":
            return FakeExtractor(FakeExtractorOptions(), self.context)
        if role == "images":
            return _Items({item.item_id: item for item in self.items})
        raise ConfigError(f"the contract suite has no {role}")


@dataclass(frozen=True)
class _Items:
    items: dict[str, ImageItem]

    def get_image(self, item_id: str) -> ImageItem | None:
        return self.items.get(item_id)

    def iter_images(self) -> Iterator[ImageItem]:
        return iter(self.items.values())


def pictures(n: int = 8, **options: Any) -> list[ImageItem]:
    """The first `n` images of `FakeImages`, with its options."""
    return list(FakeImages(FakeImagesOptions(n=n, **options), Context()).iter_images())


def random_batch(
    space: FeatureSpace, item_ids: Sequence[str], seed: int | Sequence[int] = 0, density: float = 0.2
) -> FeatureBatch:
    """Random features of these items.

    A share of about `density` is not zero, so with a small one an item may have no active features.
    """
    import numpy as np
    from scipy.sparse import csr_array

    generator = np.random.default_rng(seed)
    shape = (len(item_ids), space.n_features)
    active = generator.random(shape) < density
    return FeatureBatch(space, tuple(item_ids), csr_array(generator.gamma(2.0, size=shape) * active))


def score_input(
    n_items: int = 40,
    n_features: int = 12,
    *,
    rows_per_batch: int = 16,
    with_embeddings: bool = True,
    ratings: Sequence[str] = ("liking", "calm"),
    seed: int = 0,
    groups: int = 0,
) -> ScoreInput:
    """Random features with ratings and embeddings; feature 0 never fires, feature 1 is constant.

    The first rating depends mostly on feature 2. Every fifth rating is missing, and so is the embedding of the last
    image if there are more than three images. With `groups`, images belong to that many groups, in turn.
    """
    import numpy as np
    from scipy.sparse import csr_array

    generator = np.random.default_rng(seed)
    dense = generator.gamma(2.0, size=(n_items, n_features)) * (generator.random((n_items, n_features)) < 0.5)
    dense[:, 0], dense[:, 1] = 0, 1
    space = FeatureSpace(3, "cls", n_features)
    ids = tuple(f"item/{number}" for number in range(n_items))
    weights = [2.0] + [0.0] * len(ratings)
    rated = {
        name: np.where(np.arange(n_items) % 5 == 4, np.nan, generator.normal(size=n_items) + weight * dense[:, 2])
        for name, weight in zip(ratings, weights, strict=False)
    }
    embeddings = generator.normal(size=(n_items, 6)).astype(np.float32)
    if n_items > 3:
        embeddings[-1] = np.nan

    def read() -> Any:
        for start in range(0, n_items, rows_per_batch):
            rows = slice(start, start + rows_per_batch)
            yield FeatureBatch(space, ids[rows], csr_array(dense[rows]))

    return ScoreInput(
        space,
        ids,
        FeatureStream(space, read),
        embeddings if with_embeddings else None,
        rated,
        groups=tuple(f"group {number % groups}" for number in range(n_items)) if groups else None,
    )


def score_table(
    n_features: int = 30, *, ratings: Sequence[str] = ("liking", "calm"), scored: bool = True, seed: int = 0
) -> ScoreTable:
    """Scores in the form that the bundled scorers produce, over two spaces; with `scored=False` all are NaN.

    `scores` has the columns n_active, max, mean and monosemanticity; `correlations` has n, r, p and q. A fifth of the
    values of monosemanticity and r are NaN.
    """
    import numpy as np
    import pandas as pd

    generator = np.random.default_rng(seed)
    spaces = (FeatureSpace(1, "cls", n_features), FeatureSpace(2, "patch-max", n_features))
    keys = pd.DataFrame(
        [("", space.layer, space.tokens, index) for space in spaces for index in range(n_features)],
        columns=KEYS,
    )
    column = partial(_random_column, generator, scored)
    scores = keys.assign(
        n_active=generator.integers(0, 50, len(keys)),
        max=generator.gamma(2.0, size=len(keys)),
        mean=generator.random(len(keys)),
        monosemanticity=column(len(keys), generator.random),
    )
    parts = [keys.assign(rating=name) for name in ratings]
    relations = pd.concat(parts, ignore_index=True) if parts else keys.assign(rating="").head(0)
    r = column(len(relations), lambda n: generator.uniform(-0.6, 0.6, n))
    q = np.exp(-20 * np.abs(r))
    return ScoreTable(scores, relations.assign(n=50, r=r, p=q / 2, q=q), spaces)


def _random_column(
    generator: np.random.Generator, scored: bool, n: int, draw: Callable[[int], FloatArray]
) -> FloatArray:
    import numpy as np

    values = np.asarray(draw(n), dtype=np.float64)
    values[generator.random(n) < (0.2 if scored else 1.1)] = np.nan
    return values


def label_request(items: Sequence[ImageItem], *, n_top: int = 4) -> LabelRequest:
    """A request to name a feature that fires on the first `n_top` items only."""
    top = [TopImage(item, float(n_top - rank)) for rank, item in enumerate(items[:n_top])]
    return LabelRequest(
        feature=FeatureSpace(2, "cls", 32).feature(5),
        tier=1,
        top=top,
        contrast=list(items[n_top : 2 * n_top]),
        scores={"monosemanticity": 0.6, "n_active": float(n_top), "coverage": nan},
        relations=[Relation("liking", 0.4, 0.001, 0.01, 50), Relation("calm", nan, nan, nan, 0)],
        dataset=list(items),
    )
