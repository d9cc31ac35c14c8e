"""The run that a report tells of."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image
from scipy.sparse import csr_array

import saeviz
from saeviz.formats.judgements import JudgedImage, Judgement, table_of
from saeviz.formats.label_scores import ratings_table
from tests.report_data import Report, unpack

DASH = "\N{EN DASH}"
CLS = saeviz.FeatureSpace(8, "cls", 100)
PATCH = saeviz.FeatureSpace(8, "patch-max", 100)


@dataclass
class FakeRun:
    """The attributes of `saeviz.Run` that a reporter uses."""

    dir: Path
    items: list[saeviz.ImageItem]
    top: dict[saeviz.Feature, list[saeviz.TopImage]]
    scores: pd.DataFrame
    correlations: pd.DataFrame
    selected: list[saeviz.Selected]
    labels: dict[saeviz.Feature, saeviz.FeatureLabel]
    ratings: list[str]
    spaces: list[saeviz.FeatureSpace]
    failures: list[saeviz.Failure]
    manifest: dict[str, Any]
    facts: dict[str, Any]
    judgements: pd.DataFrame = field(default_factory=lambda: table_of([]))
    judged_images: pd.DataFrame = field(default_factory=lambda: judged_table([]))
    label_ratings: pd.DataFrame = field(default_factory=lambda: ratings_table([]))
    of_images: dict[str, Any] = field(default_factory=dict)
    notes: dict[saeviz.Feature, saeviz.Note] = field(default_factory=dict)

    @property
    def individual_ratings(self) -> pd.DataFrame:
        return pd.DataFrame({"item_id": [], "rating": [], "rater": [], "value": []})

    def name(self, feature: saeviz.Feature) -> str:
        return self.labels[feature].label if feature in self.labels else ""

    @property
    def ratings_table(self) -> pd.DataFrame:
        rows = {item.item_id: dict(item.ratings) for item in self.items}
        return pd.DataFrame.from_dict(rows, orient="index").reindex(columns=self.ratings).astype(float)

    @property
    def metadata(self) -> pd.DataFrame:
        rows = {item.item_id: dict(item.metadata) for item in self.items}
        return pd.DataFrame.from_dict(rows, orient="index").fillna("")

    @property
    def images_table(self) -> pd.DataFrame:
        return pd.DataFrame(self.of_images, index=[item.item_id for item in self.items])

    @property
    def embeddings(self) -> Any:
        raise saeviz.RunDirError("no embeddings")

    def top_item_ids(self, feature: saeviz.Feature, k: int | None = None) -> list[tuple[str, float]]:
        return [(shown.item.item_id, shown.activation) for shown in self.top[feature][:k]]

    def batches(self, space: saeviz.FeatureSpace, item_ids: Sequence[str]) -> Iterator[saeviz.FeatureBatch]:
        matrix = np.zeros((len(item_ids), space.n_features), dtype=np.float32)
        for feature, shown in self.top.items():
            for one in shown if feature in space else ():
                matrix[item_ids.index(one.item.item_id), feature.index] = one.activation
        yield saeviz.FeatureBatch(space, tuple(item_ids), csr_array(matrix))


def judged_table(images: Sequence[JudgedImage]) -> pd.DataFrame:
    """The images on which the name of the first feature was judged."""
    rows = [score(CLS.feature(7), **image._asdict()) for image in images]
    return pd.DataFrame(rows, columns=[*saeviz.KEYS, *JudgedImage._fields])


def score(feature: saeviz.Feature, **values: Any) -> dict[str, Any]:
    return {"sae": feature.sae, "layer": feature.layer, "tokens": feature.tokens, "feature": feature.index, **values}


def picture(number: int, size: tuple[int, int] = (320, 256)) -> bytes:
    buffer = BytesIO()
    Image.new("RGB", size, (number * 40 % 256, 90, 200)).save(buffer, "JPEG")
    return buffer.getvalue()


Write = Callable[..., Report]


def thumbnails(run: FakeRun) -> set[str]:
    return {path.name for path in (run.dir / "report" / "pictures").iterdir()}


def show_only(run: FakeRun, item: saeviz.ImageItem) -> None:
    run.items = [item]
    run.top = {feature: [saeviz.TopImage(item, 1.0)] for feature in run.top}


def images_of_feature(report: Report, feature: object) -> dict[str, float]:
    """The images on which a feature fires, strongest first, and how strongly."""
    number, place = divmod(report.row(feature), report.run["features_a_file"])
    block = {name: unpack(packed) for name, packed in report.content(f"features/{number}").items()}
    end = int(block["counts"][: place + 1].sum())
    part = slice(end - int(block["counts"][place]), end)
    ids = report.content("items")["ids"]
    return {ids[item]: float(value) for item, value in zip(block["others"][part], block["values"][part], strict=True)}


def judge(run: FakeRun, n_found: int, n_passed_over: int, *, n_hard_passed_over: int = 4, reason: str = "") -> None:
    """The name of the first feature is judged on 12 active and 12 silent images, 4 of these hard."""
    scores: dict[str, list[float]] = {
        "active": [1.0] * n_found + [0.0] * (12 - n_found),
        "silent": [0.0] * (n_passed_over - 4) + [1.0] * (12 - n_passed_over),
        "hard": [0.0] * n_hard_passed_over + [1.0] * (4 - n_hard_passed_over),
    }
    images = tuple(
        JudgedImage(run.items[number % 6].item_id, kind, 0.0, score)  # type: ignore[arg-type]
        for kind, given in scores.items()
        for number, score in enumerate(given)
    )
    feature = saeviz.Feature(8, "cls", 7)
    found = [Judgement(feature, "red barn", () if reason else images, reason, "key")]
    run.judgements, run.judged_images = table_of(found), judged_table(found[0].images)
