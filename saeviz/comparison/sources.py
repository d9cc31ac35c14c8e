"""The images of a run with their ratings and features, read in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from saeviz.results.run import Run
from saeviz.values.errors import SaevizError
from saeviz.values.features import FeatureSpace

if TYPE_CHECKING:
    from saeviz.typing import CSR, FloatArray, IntArray

PARTS = 20
"""Parts of the images, of which the jackknife leaves out one at a time; fewer if there are fewer groups."""


class Source:
    """What estimates need of a run beyond its tables."""

    def __init__(self, run: Run) -> None:
        self.run = run

    @cached_property
    def obstacle(self) -> str:
        """Why images or features cannot be read here, '' if they can."""
        try:
            ids = [item.item_id for item in self.run.items][:1]
            for space in self.run.spaces[:1]:
                next(self.run.batches(space, ids), None)
        except SaevizError as error:
            return str(error)
        return "" if ids else "it has no images"

    def rated(self, rating: str) -> tuple[list[str], FloatArray]:
        """The images on which relations were found that have this rating, and the rating."""
        table = self.run.ratings_table  # the images may have lost a rating since
        values = table.reindex(columns=[rating])[rating][self.run.split == "found"].dropna()
        return values.index.tolist(), values.to_numpy()

    def clusters(self, item_ids: Sequence[str]) -> IntArray:
        """For each image the number of its group, from 0; an image without a group is one of its own."""
        import numpy as np

        group_of = {item.item_id: item.group for item in self.run.items}
        members = [("group", group_of[one]) if group_of[one] is not None else ("", one) for one in item_ids]
        number_of = {name: number for number, name in enumerate(sorted(set(members), key=str))}
        return np.array([number_of[member] for member in members], dtype=np.int64)

    def parts(self, item_ids: Sequence[str]) -> IntArray:
        """For each image one of at most `PARTS` random parts, none empty; images of one group are together."""
        import numpy as np

        clusters = self.clusters(item_ids)
        order = np.random.default_rng(0).permutation(clusters.max(initial=-1) + 1)
        return order[clusters] % PARTS

    def correlations(self, space: FeatureSpace, item_ids: Sequence[str], rating: FloatArray) -> FloatArray:
        """Pearson's r of every feature: `[n_features, 1 + n_parts]`, of all images, then without each of the parts."""
        import numpy as np

        parts = self.parts(item_ids)
        n_parts = int(parts.max(initial=-1)) + 1
        member = np.eye(n_parts)[parts]
        y = rating - rating.mean()
        weights = np.hstack([member, member * y[:, None]])
        sums = np.zeros((2, space.n_features, 2 * n_parts))
        for rows, matrix in self._chunks(space, item_ids):
            sums[0] += matrix.T @ weights[rows]
            sums[1, :, :n_parts] += matrix.power(2).T @ member[rows]
        n, y1, y2 = member.sum(axis=0), y @ member, y**2 @ member
        x1, xy, x2 = sums[0, :, :n_parts], sums[0, :, n_parts:], sums[1, :, :n_parts]
        n, y1, y2, x1, xy, x2 = (_with_and_without(one) for one in (n, y1, y2, x1, xy, x2))
        with np.errstate(divide="ignore", invalid="ignore"):
            variance = (x2 - x1**2 / n) * (y2 - y1**2 / n)
            return np.asarray((xy - x1 * y1 / n) / np.sqrt(np.where(variance > 0, variance, np.nan)))

    def columns(self, space: FeatureSpace, item_ids: Sequence[str], features: Sequence[int]) -> FloatArray:
        """Some features of some images, `[n_images, len(features)]`."""
        import numpy as np

        found = np.zeros((len(item_ids), len(features)))
        for rows, matrix in self._chunks(space, item_ids):
            found[rows] = matrix[:, list(features)].toarray()
        return found

    def _chunks(self, space: FeatureSpace, item_ids: Sequence[str]) -> Iterator[tuple[slice, CSR]]:
        start = 0
        for batch in self.run.batches(space, item_ids):
            yield slice(start, start + len(batch)), batch.matrix.astype("float64")
            start += len(batch)


def _with_and_without(sums: FloatArray) -> FloatArray:
    """The total of all parts, then the total without each."""
    import numpy as np

    total = sums.sum(axis=-1, keepdims=True)
    return np.concatenate([total, total - sums], axis=-1)
