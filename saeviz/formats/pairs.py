"""The table `pairs`: numbers of every pair of a feature and a rating, in a folder of Parquet files.

`pairs/scorer=NAME/space=SPACE/part-K.parquet` has the rows of some ratings, sorted by feature, about 65,000 in a row
group. So one rating is in one file, and one feature in one row group of each file.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from saeviz.formats.files import explain_disk_errors
from saeviz.formats.parquet import ATTRS, ROWS_TOGETHER
from saeviz.formats.plain import quoted
from saeviz.formats.rundir import RunDir
from saeviz.values.columns import ColumnInfo, attrs_of
from saeviz.values.errors import PluginError, RunDirError
from saeviz.values.features import Feature, FeatureSpace
from saeviz.values.keys import KEYS, columns_of, key_of
from saeviz.values.scores import PairBlock

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

KEYS_OF_PAIRS = [*KEYS, "rating"]
_PLACE = "pairs/scorer=*/space=*/part-*.parquet"


def files_of_pairs(folder: Path) -> list[Path]:
    """The files in the folder `pairs` of a run directory; none if there is no folder."""
    return sorted(folder.glob("scorer=*/space=*/part-*.parquet"))


class PairFiles:
    """Writes blocks of pairs of these spaces to a new folder."""

    def __init__(self, folder: Path, spaces: Sequence[FeatureSpace]) -> None:
        self._folder = folder
        self._spaces = spaces
        self._schemas: dict[str, pa.Schema] = {}
        self._there: dict[tuple[str, FeatureSpace], list[tuple[str, ...]]] = {}

    def add(self, block: PairBlock, who: str, infos: Iterable[ColumnInfo] = ()) -> None:
        """Write a file, with what is known of its columns.

        Raises `PluginError` for a pair that is there already, and for columns unlike those before.
        """
        before = self._there.setdefault((block.name, block.space), [])
        if twice := {name for targets in before for name in targets}.intersection(block.targets):
            raise PluginError(
                f"{who} gave the pairs {block.name!r} of {block.space} with {quoted(min(twice))} more than once"
            )
        schema = _schema(block, self._spaces, infos)
        if self._schemas.setdefault(block.name, schema) != schema:
            raise PluginError(f"{who} gave pairs {block.name!r} whose columns are not those of the pairs before")
        place = self._folder / f"scorer={block.name}" / f"space={block.space}"
        path = place / f"part-{len(before):05}.parquet"
        with explain_disk_errors(path):
            place.mkdir(parents=True, exist_ok=True)
            _write(path, block, schema, columns_of(block.space, self._spaces))
        before.append(block.targets)


def read_pairs(rundir: RunDir, rating: str | None, feature: Feature | None) -> pd.DataFrame:
    """The pairs of a rating, a feature or both, from the files that may have some, with the `scorer` in front.

    Raises `RunDirError` if the run has no pairs, or a file is missing or damaged.
    """
    import pandas as pd

    paths = _recorded(rundir)
    if not paths:
        raise RunDirError(
            f"{rundir.pairs} does not exist: no scorer of this run has written all pairs. With few ratings "
            "`run.correlations` has them; with many, set all_pairs = true for the scorer and run it again"
        )
    where = {} if feature is None else key_of(feature)
    where |= {} if rating is None else {"rating": rating}
    tables = []
    for path in paths:
        scorer, space = _scorer_and_space(path)
        if feature is None or space == feature.space_name:
            found = rundir.read_rows(path, "score", where)
            _refuse_text(path, found)
            table = found.to_pandas()
            table.insert(0, "scorer", scorer)
            tables.append(table)
    filled = [table for table in tables if len(table)]
    found = pd.concat(filled or tables[:1] or [pd.DataFrame(columns=["scorer", *KEYS_OF_PAIRS])], ignore_index=True)
    found.attrs = attrs_of(found, infos_of_pairs(rundir))
    return found


def infos_of_pairs(rundir: RunDir) -> list[ColumnInfo]:
    """The columns of pairs, with what is known of them: nothing of one that means something else for each scorer."""
    files = {_scorer_and_space(path)[0]: path for path in _recorded(rundir)}
    found: dict[str, ColumnInfo] = {}
    for path in files.values():
        for info in rundir.read_infos(path, "score"):
            found[info.name] = info if found.get(info.name, info) == info else ColumnInfo(info.name)
    return list(found.values())


def _recorded(rundir: RunDir) -> list[Path]:
    return sorted(path for path in rundir.recorded("score") if path.relative_to(rundir.path).match(_PLACE))


def _scorer_and_space(path: Path) -> tuple[str, str]:
    scorer, space = (part.partition("=")[2] for part in PurePath(path).parts[-3:-1])
    return scorer, space


def _refuse_text(path: Path, found: pa.Table) -> None:
    import pyarrow as pa

    for field in found.schema:
        if field.name not in KEYS_OF_PAIRS and not pa.types.is_floating(field.type):
            raise RunDirError(f"{path}: the column {quoted(field.name)} has no numbers; recreate it with --redo score")


def _schema(block: PairBlock, spaces: Sequence[FeatureSpace], infos: Iterable[ColumnInfo]) -> pa.Schema:
    import pyarrow as pa

    text = pa.string()
    keys = {"sae": text, "layer": pa.int64(), "tokens": text, "feature": pa.int64(), "rating": text}
    if isinstance(columns_of(block.space, spaces)["layer"], str):
        keys["layer"] = text
    numbers = {name: pa.from_numpy_dtype(values.dtype) for name, values in block.values.items()}
    return pa.schema({**keys, **numbers}, {ATTRS: json.dumps(attrs_of(numbers, infos)).encode()})


def _write(path: Path, block: PairBlock, schema: pa.Schema, keys: dict[str, Any]) -> None:
    """Write a row group at a time, of as many features as make some 65,000 rows."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = pa.array(block.targets, pa.string())
    step = max(1, ROWS_TOGETHER // len(block.targets))
    with pq.ParquetWriter(path, schema, use_dictionary=KEYS_OF_PAIRS, write_page_checksum=True) as file:
        for start in range(0, block.space.n_features, step):
            part = {name: values[:, start : start + step].T for name, values in block.values.items()}
            known = ~np.all([np.isnan(values) for values in part.values()], axis=0)
            features, targets = np.nonzero(known)
            columns = {
                name: pa.repeat(pa.scalar(value, schema.field(name).type), features.size)
                for name, value in keys.items()
            }
            columns |= {"feature": features + start, "rating": names.take(pa.array(targets))}
            columns |= {name: values[known] for name, values in part.items()}
            file.write_table(pa.table(columns, schema), row_group_size=max(1, features.size))
