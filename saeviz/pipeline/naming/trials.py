"""Draw the images on which labels are judged: held-out ones with and without the feature, and a few seen ones."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple
from zlib import crc32

from saeviz.formats.embeddings import EmbeddingFiles
from saeviz.formats.judgements import FEWEST, Kind
from saeviz.formats.labels import LabelLine
from saeviz.pipeline.naming.activations import activations
from saeviz.pipeline.session import Session
from saeviz.values.features import Feature
from saeviz.values.images import ImageItem
from saeviz.values.naming import FeatureLabel

if TYPE_CHECKING:
    import numpy as np

    from saeviz.typing import Float32Array, IntArray, Mask

ACTIVE_SHARE = 0.25
"""Share of the feature's maximum; below it, the label need not apply."""
BANDS = 4
"""Number of equally wide bands of activation; active images are drawn from them in turn, strongest first."""


N_SEEN = 4
"""Images that the labeler saw, beside the held-out ones of a label: over all labels they tell what the judge can do."""


class Shown(NamedTuple):
    """An image shown to a judge; all except the `seen` ones are held out."""

    item: ImageItem
    kind: Kind
    activation: float


class Trial(NamedTuple):
    """A test of a label on held-out images in random order; if there are too few, `reason` says so.

    `seen` are some images that the labeler saw, in random order.
    """

    line: LabelLine
    images: tuple[Shown, ...]
    reason: str
    seen: tuple[Shown, ...] = ()

    @property
    def feature(self) -> Feature:
        """The feature, which the judge is not told."""
        return self.line.feature

    @property
    def words(self) -> FeatureLabel:
        """The label as given to the judge: only label and description."""
        return FeatureLabel(self.line.label.label, self.line.label.description)

    @property
    def shown(self) -> list[Shown]:
        """All images in the order shown to the judge; the seen ones are spread evenly, so as not to stand out."""
        mixed: list[Shown] = []
        n, n_seen = len(self.images), len(self.seen)
        for place, image in enumerate(self.images, start=1):
            mixed.append(image)
            mixed += self.seen[n_seen * (place - 1) // n : n_seen * place // n]
        return mixed


def trials(session: Session, lines: Sequence[LabelLine]) -> Iterator[Trial]:
    """Draws a trial for each label.

    Of `run.judge_images` half are active, the rest silent, and of these half `hard`: most similar to the top images by
    the run's embedding. A run without embeddings has no hard ones. What is drawn depends on `run.seed` and the feature.
    Images in one group with an image that the labeler saw are not held out.
    """
    import numpy as np

    if not lines:
        return
    dataset = session.dataset.extracted
    row_of = {item.item_id: row for row, item in enumerate(dataset)}
    embeddings = _unit_embeddings(session, dataset)
    values_of = dict(activations(session, [line.feature for line in lines], dataset))
    for line in lines:
        values = values_of[line.feature]
        top, contrast = ([row_of[one] for one in ids if one in row_of] for ids in line.shown or ((), ()))
        looked_at = top[: line.n_seen]
        seen = np.zeros(len(dataset), dtype=bool)
        seen[[*looked_at, *contrast]] = True
        seen |= _of_groups(dataset, {dataset[row].group for row in (*looked_at, *contrast)} - {None})
        likeness = None if embeddings is None else embeddings @ _centre(embeddings[top], values[top])
        trial = _trial(line, values, seen, likeness, session, dataset)
        yield trial if trial.reason else trial._replace(seen=_seen(line.feature, values, looked_at, session, dataset))


def _of_groups(dataset: Sequence[ImageItem], groups: Collection[str | None]) -> Mask:
    """The images of these groups, which are like those that the labeler saw."""
    import numpy as np

    return np.array([item.group in groups for item in dataset], dtype=bool)


def _trial(
    line: LabelLine,
    activations: Float32Array,
    seen: Mask,
    likeness: Float32Array | None,
    session: Session,
    dataset: Sequence[ImageItem],
) -> Trial:
    import numpy as np

    settings = session.config.run
    n_active = settings.judge_images // 2
    n_silent = settings.judge_images - n_active
    generator = np.random.default_rng([settings.seed, crc32(str(line.feature).encode())])
    active = np.flatnonzero(~seen & (activations > 0) & (activations >= ACTIVE_SHARE * activations.max()))
    silent = np.flatnonzero(~seen & (activations <= 0))
    if reason := _too_few(len(active), len(silent)):
        return Trial(line, (), reason)
    hard = _most_alike(silent, likeness, n_silent // 2)
    easy = np.setdiff1d(silent, hard)
    easy = generator.permutation(easy)[: n_silent - len(hard)]
    kinds: Mapping[Kind, IntArray] = {
        "active": _over_the_range(active, activations, n_active, generator),
        "silent": easy,
        "hard": hard,
    }
    drawn = [Shown(dataset[row], kind, float(activations[row])) for kind, rows in kinds.items() for row in rows]
    return Trial(line, tuple(drawn[place] for place in generator.permutation(len(drawn))), "")


def _seen(
    feature: Feature, values: Float32Array, looked_at: Sequence[int], session: Session, dataset: Sequence[ImageItem]
) -> tuple[Shown, ...]:
    """Some of the top images that the labeler saw, with at least the activation required of held-out ones."""
    import numpy as np

    known = [row for row in looked_at if values[row] >= ACTIVE_SHARE * values.max()]
    generator = np.random.default_rng([session.config.run.seed, crc32(f"seen {feature}".encode())])
    drawn = generator.permutation(len(known))[:N_SEEN]
    return tuple(Shown(dataset[known[place]], "seen", float(values[known[place]])) for place in drawn)


def _too_few(n_active: int, n_silent: int) -> str:
    if n_active < FEWEST:
        return (
            f"{n_active} images that the labeler has not seen reach {ACTIVE_SHARE:.0%} of its maximum, "
            f"and {FEWEST} are needed"
        )
    return "" if n_silent >= FEWEST else f"it is silent on {n_silent} unseen images, and {FEWEST} are needed"


def _over_the_range(rows: IntArray, activations: Float32Array, n: int, generator: np.random.Generator) -> IntArray:
    """`n` of the rows, drawn at random from each band of activation in turn until it is empty."""
    import numpy as np

    values = activations[rows]
    edges = np.linspace(values.max(), values.min(), BANDS + 1)[1:-1]
    band = (values[:, None] < edges).sum(axis=1)
    shuffled = generator.permutation(len(rows))
    turn = np.zeros(len(rows), dtype=np.int64)
    for number in range(BANDS):
        mine = shuffled[band[shuffled] == number]
        turn[mine] = np.arange(len(mine))
    return rows[np.lexsort((band, turn))[:n]]


def _most_alike(rows: IntArray, likeness: Float32Array | None, n: int) -> IntArray:
    import numpy as np

    if likeness is None:
        return rows[:0]
    known = rows[np.isfinite(likeness[rows])]
    return known[np.argsort(-likeness[known], kind="stable")[:n]]


def _centre(vectors: Float32Array, weights: Float32Array) -> Float32Array:
    """The weighted mean of the vectors that are not NaN; NaN if there are none."""
    import numpy as np

    known = np.isfinite(vectors).all(axis=1)
    total: Float32Array = weights[known] @ vectors[known]
    return total if known.any() else np.full(vectors.shape[1], np.nan, dtype=np.float32)


def _unit_embeddings(session: Session, dataset: Sequence[ImageItem]) -> Float32Array | None:
    """Unit embeddings `[n, dim]`, with NaN rows for images without one; None in a run without embeddings."""
    import numpy as np

    if session.config.embeddings is None:
        return None
    vectors = EmbeddingFiles(session.rundir.embeddings("embeddings")).read(dataset)
    if vectors is None:
        return None
    unit: Float32Array = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.float32(1e-12))
    return unit
