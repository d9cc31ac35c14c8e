"""`judgements.jsonl`, with every image and its score per judged label, and `judgements.parquet`, with the results."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import nan
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from saeviz.formats.accuracy import Estimate, area_under_curve, mean_of, proportion
from saeviz.formats.lines import FeatureLines, checked_line
from saeviz.formats.plain import plain
from saeviz.values.features import Feature
from saeviz.values.keys import KEYS, feature_of, key_of

if TYPE_CHECKING:
    import pandas as pd

Kind = Literal["active", "silent", "hard", "seen"]
Verdict = Literal["confirmed", "fails", "undecided", "not judged"]

APPLIES = 0.5
"""From this score on, the judge's answer counts as "the label applies"."""
CHANCE, GOOD = 0.5, 0.75
"""Balanced accuracy of guessing, and half-way between guessing and perfect."""
FEWEST = 5
"""Minimum number of images of each kind; with fewer, a label is not judged."""

COLUMNS = {
    "sae": "str",
    "layer": "int64",
    "tokens": "str",
    "feature": "int64",
    "label": "str",
    "verdict": "str",
    "reason": "str",
    "n_active": "int64",
    "n_silent": "int64",
    "n_hard": "int64",
    "n_seen": "int64",
    "sensitivity": "float64",
    "specificity": "float64",
    "hard_specificity": "float64",
    "seen_sensitivity": "float64",
    "balanced_accuracy": "float64",
    "ci_low": "float64",
    "ci_high": "float64",
    "auc": "float64",
}


class JudgedImage(NamedTuple):
    """An image, the feature's activation on it, and the judge's score.

    `hard` ones are silent images most like those that the feature fires on most; `seen` ones were shown to the labeler,
    the others are held out. The score is None if the image cannot be judged.
    """

    item_id: str
    kind: Kind
    activation: float
    score: float | None


class Judgement(NamedTuple):
    """What became of one label. Two with the same `key` were made from the same; `reason`: why there are no images.

    `images` are held out; of `seen` ones, which the labeler saw, follows nothing about the label, but about the judge.
    """

    feature: Feature
    label: str
    images: tuple[JudgedImage, ...]
    reason: str
    key: str
    seen: tuple[JudgedImage, ...] = ()

    def as_text(self) -> str:
        """One line of JSON."""
        row = {
            **key_of(self.feature),
            "label": self.label,
            "images": [plain(image._asdict()) for image in self.images],
            "seen": [plain(image._asdict()) for image in self.seen],
            "reason": self.reason,
            "key": self.key,
        }
        return checked_line(row)

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Judgement:
        """Parse a line."""
        images, seen = (tuple(JudgedImage(**image) for image in row[name]) for name in ("images", "seen"))
        feature = feature_of(row)
        return cls(feature, row["label"], images, row["reason"], row["key"], seen)

    def as_row(self, powerless: str = "") -> dict[str, Any]:
        """The row of the table: counts, and figures that are NaN if too few images could be judged.

        `specificity` is that over all silent images, the hard ones among them; `hard_specificity` over these alone.
        `powerless`: why nothing follows from what the judge says.
        """
        too_few = self.reason or _too_few(len(self.scores("active")), len(self.scores("silent", "hard")))
        figures = {} if too_few else self._figures()
        reason = too_few or powerless
        return {
            **key_of(self.feature),
            "label": self.label,
            "verdict": "not judged" if reason else verdict(figures["ci_low"], figures["ci_high"]),
            "reason": reason,
            "n_active": len(self.scores("active")),
            "n_silent": len(self.scores("silent", "hard")),
            "n_hard": len(self.scores("hard")),
            "n_seen": len(self.scores("seen")),
            **{name: figures.get(name, nan) for name, kind in COLUMNS.items() if kind == "float64"},
        }

    @property
    def is_judged(self) -> bool:
        """Whether there are enough images of both kinds."""
        return not self.reason and not _too_few(len(self.scores("active")), len(self.scores("silent", "hard")))

    def scores(self, *kinds: Kind) -> list[float]:
        """The judge's scores of the images of these kinds, without images that it could not judge."""
        return [image.score for image in (*self.images, *self.seen) if image.kind in kinds and image.score is not None]

    def _figures(self) -> dict[str, float]:
        active, silent = self.scores("active"), self.scores("silent", "hard")
        sensitivity, passed_over = says_yes(active), says_no(silent)
        balanced = mean_of(sensitivity, passed_over)
        return {
            "sensitivity": sensitivity.value,
            "specificity": passed_over.value,
            "hard_specificity": says_no(self.scores("hard")).value,
            "seen_sensitivity": says_yes(self.scores("seen")).value,
            "balanced_accuracy": balanced.value,
            "ci_low": balanced.low,
            "ci_high": balanced.high,
            "auc": area_under_curve(active, silent),
        }


def says_yes(scores: Sequence[float]) -> Estimate:
    """The share of scores that count as "the label applies"."""
    return proportion(sum(score >= APPLIES for score in scores), len(scores))


def says_no(scores: Sequence[float]) -> Estimate:
    """The share of scores that count as "the label does not apply"."""
    return proportion(sum(score < APPLIES for score in scores), len(scores))


def verdict(ci_low: float, ci_high: float) -> Verdict:
    """The verdict on a label, from the 95 % interval of its balanced accuracy.

    Confirmed: better than chance. Fails: it may be chance, and is in any case not good. Undecided: it may be either.
    """
    if ci_low > CHANCE:
        return "confirmed"
    return "fails" if ci_high < GOOD else "undecided"


def _too_few(n_active: int, n_silent: int) -> str:
    for n, where in ((n_active, "fires"), (n_silent, "is silent")):
        if n < FEWEST:
            return f"only {n} held-out images on which it {where} can be judged, and {FEWEST} are needed"
    return ""


def table_of(judgements: Iterable[Judgement], powerless: str = "") -> pd.DataFrame:
    """A row per judged label; `powerless`: why nothing follows from what the judge says."""
    import pandas as pd

    table = pd.DataFrame([one.as_row(powerless) for one in judgements], columns=list(COLUMNS))
    named = any(isinstance(layer, str) for layer in table["layer"])  # stages; a column has one type
    return table.astype(COLUMNS | ({"layer": "str"} if named else {}))


JUDGEMENTS = FeatureLines(Judgement.from_json, "judge")


def images_of(path: Path, counts: Callable[[Feature, Mapping[str, Any]], bool]) -> pd.DataFrame:
    """A row per image of each judgement in the file that `counts`, by feature and label; empty if there is none."""
    import pandas as pd

    rows = [
        {**key_of(one.feature), **image._asdict()}
        for one in (JUDGEMENTS.read(path).values() if path.exists() else ())
        if counts(one.feature, {"label": one.label})
        for image in (*one.images, *one.seen)
    ]
    return pd.DataFrame(rows, columns=[*KEYS, *JudgedImage._fields]).astype({"activation": float, "score": float})
