"""`label_scores.jsonl`, a judge's scores of each label, and `label_ratings.parquet`, how these go with ratings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from saeviz.formats.lines import FeatureLines, checked_line
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


LABEL_SCORES = FeatureLines(LabelScores.from_json, "judge-ratings")


def ratings_table(rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """A row per label and rating."""
    import pandas as pd

    table = pd.DataFrame(list(rows), columns=list(COLUMNS))
    named = any(isinstance(layer, str) for layer in table["layer"])  # stages; a column has one type
    if named:
        table["layer"] = table["layer"].astype(str)
    return table.astype(COLUMNS | ({"layer": "str"} if named else {}))
