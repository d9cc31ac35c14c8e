"""Read the rows of one feature from the tables of a run, without loading the whole tables."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from saeviz.formats.contents import OF_JUDGEMENTS, OF_LABEL_RATINGS, OF_SELECTED
from saeviz.formats.pairs import infos_of_pairs
from saeviz.formats.plain import plain
from saeviz.formats.rundir import RunDir
from saeviz.values.columns import ColumnInfo
from saeviz.values.features import Feature, FeatureSpace
from saeviz.values.keys import KEYS, feature_of, key_of, space_key

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray


MEMBERS = (*KEYS, "n_active", "cluster")


def rows_of(rundir: RunDir, path: Path, stage: str, feature: Feature) -> list[dict[str, Any]]:
    """The rows of a feature in a table, without the key columns; missing values are None."""
    keys = key_of(feature)
    found = rundir.read_rows(path, stage, keys)
    return [{name: plain(value) for name, value in row.items() if name not in keys} for row in found.to_pylist()]


def columns_of(rundir: RunDir) -> dict[str, dict[str, ColumnInfo]]:
    """The columns of the tables of a run, by the table, with what is known of them.

    Those of scorers are empty before there are any.
    """
    tables = {"scores": rundir.scores, "correlations": rundir.correlations, "images_table": rundir.images}
    found: dict[str, list[ColumnInfo]]
    found = {table: rundir.read_infos(path, "score") if path.exists() else [] for table, path in tables.items()}
    found["pairs"] = infos_of_pairs(rundir)
    keys = (*KEYS, "item_id", "rating")
    given = {table: [info for info in infos if info.name not in keys] for table, infos in found.items()}
    same = {"selected": OF_SELECTED, "judgements": OF_JUDGEMENTS, "label_ratings": OF_LABEL_RATINGS}
    return {table: {info.name: info for info in infos} for table, infos in {**given, **same}.items()}


def has_label_ratings(rundir: RunDir) -> bool:
    """Whether labels of the run were to predict ratings, and did; a table of earlier settings may be there."""
    config = rundir.read_manifest().get("config")
    settings = config.get("run") if isinstance(config, Mapping) else None
    if not (isinstance(settings, Mapping) and settings.get("rating_images")):
        return False
    rundir.verify(rundir.label_ratings, "judge-ratings")
    return rundir.label_ratings.exists()


class TopItems:
    """The ids and activations of the top images of all features of a space, in 8 bytes each."""

    def __init__(self, rundir: RunDir, space: FeatureSpace) -> None:
        import numpy as np

        columns = ("feature", "rank", "item_id", "activation")
        found = rundir.read_rows(rundir.top_images, "score", space_key(space), columns)
        ids = found["item_id"].dictionary_encode().unify_dictionaries().combine_chunks()
        features, ranks = _small(found, "feature"), _small(found, "rank")
        codes = ids.indices.to_numpy().astype(np.int32)
        activations = found["activation"].to_numpy().astype(np.float32)
        places = features.astype(np.int64) << 32 | ranks
        if (places[1:] < places[:-1]).any():  # not sorted: not written by a run
            order = np.argsort(places, kind="stable")
            features, codes, activations = features[order], codes[order], activations[order]
        self._ids = ids.dictionary.to_pylist()
        self._codes, self._activations = codes, activations
        self._starts = np.searchsorted(features, np.arange(space.n_features + 1, dtype=np.int32))

    def of(self, index: int) -> list[tuple[str, float]]:
        """Ids and activations for the feature with this index, strongest first."""
        rows = slice(*self._starts[index : index + 2].tolist())
        ids = (self._ids[code] for code in self._codes[rows].tolist())
        return list(zip(ids, self._activations[rows].tolist(), strict=True))


class Clusters:
    """The clusters of features that fire together, from the score table."""

    def __init__(self, rundir: RunDir) -> None:
        import numpy as np

        found = rundir.read_rows(rundir.scores, "score", {}, MEMBERS)
        self._members = found.drop_null() if "cluster" in found.column_names else None
        if self._members is not None:
            self._features = _small(self._members, "feature")
            clusters = self._members["cluster"].to_numpy()
            self._order = np.argsort(clusters, kind="stable").astype(np.int32)
            self._clusters = clusters[self._order]

    def companions(self, feature: Feature) -> list[Feature]:
        """The other features of its cluster, most active first; empty if it is in none."""
        import numpy as np

        if self._members is None:
            return []
        rows = np.flatnonzero(self._features == feature.index)
        own = [row for row in self._members.take(rows).to_pylist() if feature_of(row) == feature]
        if not own:
            return []
        start, stop = (np.searchsorted(self._clusters, own[0]["cluster"], side) for side in ("left", "right"))
        members = self._members.take(self._order[start:stop]).to_pylist()
        ordered = sorted((-row["n_active"], feature_of(row)) for row in members)
        return [other for _, other in ordered if other != feature]


def _small(table: pa.Table, name: str) -> NDArray[np.int32]:
    import numpy as np

    values: NDArray[np.int32] = table[name].to_numpy().astype(np.int32)
    return values
