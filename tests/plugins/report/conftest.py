"""The run that a report is written of, and its writing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import saeviz
from saeviz_report import HtmlOptions
from saeviz_report.explorer.reporter import HtmlReport
from tests.plugins.report.page import CLS, PATCH, FakeRun, Write, picture, score
from tests.report_data import Report


@pytest.fixture
def run(tmp_path: Path) -> FakeRun:
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


@pytest.fixture
def write(run: FakeRun) -> Write:
    def _write(context: saeviz.Context | None = None, **options: Any) -> Report:
        page = HtmlReport(HtmlOptions(**options), context or saeviz.Context()).write(run)  # type: ignore[arg-type]
        return Report(page.parent)

    return _write
