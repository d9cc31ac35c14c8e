"""The run that a report tells of."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image
from scipy.sparse import csr_array

import saeviz
from saeviz.discovery.manager import Manager
from saeviz.formats.contents import OF_JUDGEMENTS, OF_LABEL_RATINGS, OF_SELECTED
from saeviz.formats.judgements import JudgedImage, Judgement, table_of
from saeviz.formats.label_scores import ratings_table
from saeviz.formats.rundir import RunDir
from saeviz.results.citing import works_of
from saeviz.results.predicting import RatingModels
from tests.report_data import Report, unpack

DASH = "\N{EN DASH}"
CLS = saeviz.FeatureSpace(8, "cls", 100)
PATCH = saeviz.FeatureSpace(8, "patch-max", 100)


class Noted(dict[saeviz.Feature, saeviz.Note]):
    """What `run.notes` is to a reporter."""

    earlier: Mapping[saeviz.Feature, saeviz.Note] = MappingProxyType({})


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
    notes: Noted = field(default_factory=Noted)
    tier_cutoffs: list[saeviz.TierCutoff] = field(default_factory=list)

    @property
    def columns(self) -> dict[str, dict[str, saeviz.ColumnInfo]]:
        same = (OF_SELECTED, OF_JUDGEMENTS, OF_LABEL_RATINGS)
        known = [{info.name: info for info in infos} for infos in same]
        core = dict(zip(("selected", "judgements", "label_ratings"), known, strict=True))
        return {"scores": {}, "correlations": {}, "images_table": {}, **core}

    @property
    def citations(self) -> dict[str, list[saeviz.Citation]]:
        return works_of(self.manifest, self.facts, {}, Manager)

    @property
    def rating_models(self) -> RatingModels:
        return RatingModels(RunDir(self.dir), self.facts)

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


def make_run(tmp_path: Path) -> FakeRun:
    """Three selected features of two spaces, six images, two ratings."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    items = []
    for number in range(6):
        path = folder / f"{number}.jpg"
        path.write_bytes(picture(number))
        ratings = {"beauty": float(number)} | ({"calm": 1.5} if number < 4 else {})
        items.append(saeviz.ImageItem(f"item/{number}", path, ratings, {"theme": f"theme {number}"}))
    a, b, c = CLS.feature(7), PATCH.feature(7), PATCH.feature(42)
    silent = PATCH.feature(1)
    scores = [
        score(a, n_active=4, max=5.5, mean=1.25, monosemanticity=0.6123, ms_class="monosemantic", coverage=0.4),
        score(b, n_active=1234, max=3.0, mean=0.5, monosemanticity=np.nan, ms_class="", coverage=0.2),
        score(c, n_active=5, max=2.0, mean=0.1, monosemanticity=0.2, ms_class="polysemantic", coverage=np.nan),
        score(silent, n_active=0, max=0.0, mean=0.0, monosemanticity=np.nan, ms_class="", coverage=0.0),
    ]
    nothing = {"p": np.nan, "q": np.nan, "ci_low": np.nan, "ci_high": np.nan, "significant": np.nan}
    correlations = [
        score(a, rating="beauty", n=6, r=0.5, p=1e-9, q=2e-8, ci_low=0.3, ci_high=0.65, significant=1.0),
        score(a, rating="calm", n=4, r=-0.25, p=0.01, q=0.031, ci_low=-0.4, ci_high=-0.1, significant=1.0),
        score(b, rating="beauty", n=6, r=-0.1, p=0.4, q=0.6, ci_low=-0.3, ci_high=0.1, significant=0.0),
        score(b, rating="calm", n=4, r=np.nan, **nothing),
        score(c, rating="beauty", n=6, r=0.04, p=0.7, q=0.8, ci_low=-0.2, ci_high=0.3, significant=0.0),
        score(c, rating="calm", n=4, r=0.99, **nothing),
        score(silent, rating="beauty", n=6, r=-0.6, p=1e-4, q=1e-3, ci_low=-0.7, ci_high=-0.5, significant=1.0),
    ]
    top = {
        a: [saeviz.TopImage(items[0], 5.5), saeviz.TopImage(items[1], 4.25)],
        b: [saeviz.TopImage(items[1], 3.0), saeviz.TopImage(items[2], 2.0), saeviz.TopImage(items[3], 1.0)],
        c: [],
    }
    return FakeRun(
        dir=tmp_path / "my-run",
        items=items,
        top=top,
        scores=pd.DataFrame(scores),
        correlations=pd.DataFrame(correlations),
        selected=[
            saeviz.Selected(a, 1, "clear and predictive"),
            saeviz.Selected(b, 2, "moderate"),
            saeviz.Selected(c, 2, "moderate"),
        ],
        labels={a: saeviz.FeatureLabel("red barn", "A barn.", ("roof", "door"), "People like barns.", 0.875)},
        ratings=["beauty", "calm"],
        spaces=[CLS, PATCH],
        failures=[saeviz.Failure("extract", "broken.jpg", "cannot be read")],
        manifest={
            "config": {
                "labeler": {"use": "gemini"},
                "embeddings": {"use": "dinov2"},
                "run": {"device": "cpu", "seed": 0},
            },
            "versions": {"saeviz": "0.1.0"},
            "stages": {"extract": {"digest": "0", "seconds": 75.0, "counts": {"images": 6, "rated": {"calm": 4}}}},
        },
        facts={"monosemanticity_cutoffs": [0.35, 0.5], "family_size": 6000},
    )


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


def hold_out(run: FakeRun, **facts: Any) -> None:
    """The run tells that relations were found on one part and tested again on the other."""
    again = {"n_held_out": 5, "p_held_out": 0.01, "r_held_out": [0.4, -0.2, 0.8, np.nan, np.nan, 0.1, 0.6]}
    nothing = [np.nan] * 4
    run.correlations = run.correlations.assign(
        **again, q_held_out=[0.02, 0.3, *nothing, 0.4], replicated=[1.0, 0.0, *nothing, 0.0]
    )
    run.facts |= {"correlation_measure": "Pearson's r", "correlation_split": 0.5, **facts}


RELIABILITY = {
    "model": "one-way",
    "n_images": 6,
    "n_raters": 31,
    "ratings_per_image": 4.5,
    "of_one": 0.2,
    "of_mean": 0.64,
    "split_half": None,
    "reliability": 0.64,
    "ceiling_r": 0.8,
}


def prediction(method: str, source: str, space: str, r2: float | None, **more: Any) -> dict[str, Any]:
    known = {"method": method, "source": source, "space": space, "n_images": 6, "n_inputs": 9}
    return {**known, "r2": r2, "r2_sd": 0.05, "r": 0.3, **more}


def explain(run: FakeRun) -> None:
    """The run tells how reliable its ratings are, and how well they are predicted."""
    run.facts["reliability"] = {"beauty": RELIABILITY}
    run.facts["prediction"] = {
        "beauty": [
            prediction("ridge", "features", "layer8.cls", 0.31),
            prediction("lasso", "features", "layer8.cls", 0.21, n_kept=3),
            prediction("ridge", "activations", "layer8.cls", 0.41),
            prediction("ridge", "embeddings", "", 0.51),
            prediction("ridge", "features", "all", None, r2_sd=None),
        ],
        "calm": [prediction("ridge", "features", "layer8.cls", -0.02, r2_sd=None)],
        "mood=joy": [prediction("ridge", "features", "layer8.cls", 0.12, auc=0.714, auc_sd=0.02)],
    }
