"""`label_scores.jsonl`, a judge's scores of each label, and `label_ratings.parquet`, how these go with ratings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from saeviz.formats.files import append_line, write_atomic
from saeviz.formats.lines import checked_line, keep_whole_lines, rows_in
from saeviz.values.features import Feature
from saeviz.values.keys import feature_of, key_of

if TYPE_CHECKING:
    import pandas as pd

OF_THE_LABEL = ("r", "p", "ci_low", "ci_high")
OF_THE_FEATURE = tuple(f"{name}_feature" for name in OF_THE_LABEL)
COLUMNS = {
    "sae": "str",
    "layer": "int64",
    "tokens": "str",
    "feature": "int64",
    "label": "str",
    "rating": "str",
    "n": "int64",
    **dict.fromkeys(OF_THE_LABEL, "float64"),
    "q": "float64",
    **dict.fromkeys(OF_THE_FEATURE, "float64"),
    "r_of_both": "float64",
}


class LabelScores(NamedTuple):
    """A judge's score of one label for each image, by its id; None for an image that could not be judged.

    Two with the same `key` are of the same label, judge and data.
    """

    feature: Feature
    label: str
    key: str
    scores: Mapping[str, float | None]

    def as_text(self) -> str:
        """One line of JSON."""
        row = {**key_of(self.feature), "label": self.label, "scores": dict(self.scores), "key": self.key}
        return checked_line(row)

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> LabelScores:
        """Parse a line."""
        scores = {str(name): None if score is None else float(score) for name, score in row["scores"].items()}
        return cls(feature_of(row), row["label"], row["key"], scores)


def read_scores(path: Path) -> dict[Feature, LabelScores]:
    """The scores by feature; the last line of a feature counts. Raises `RunDirError` for a damaged file."""
    found = rows_in(path, LabelScores.from_json, "recreate it with --redo judge-ratings")
    return {one.feature: one for one in found}


def mend_scores(path: Path) -> int:
    """Remove damaged lines and return their number."""
    return keep_whole_lines(path, LabelScores.from_json)


def append_scores(path: Path, scores: LabelScores) -> None:
    """Append the scores of one label; durable when this returns."""
    append_line(path, scores.as_text())


def write_scores(path: Path, scores: Iterable[LabelScores]) -> None:
    """Replace the file."""
    write_atomic(path, "".join(f"{one.as_text()}\n" for one in scores))


def ratings_table(rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """A row per label and rating."""
    import pandas as pd

    table = pd.DataFrame(list(rows), columns=list(COLUMNS))
    named = any(isinstance(layer, str) for layer in table["layer"])  # stages; a column has one type
    if named:
        table["layer"] = table["layer"].astype(str)
    return table.astype(COLUMNS | ({"layer": "str"} if named else {}))
