"""The page about two runs in a real browser."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

import saeviz
from tests.browser.chromium import Browser

FAKES = "module:saeviz.testing.fakes"
HOSTILE = "warm<img src=x onerror=window.broken=1><script>window.broken=1</script>\u202eth"


def made(folder: Path, **more: object) -> saeviz.Run:
    return saeviz.run(
        {
            "run": {"dir": str(folder)},
            "images": {"use": "fake-images", "n": 80, **more},
            "extractor": {"use": "fake-extractor"},
            "scorers": [{"use": "pearson-bh"}],
            "labeler": {"use": "fake-labeler"},
            "reporters": [],
        },
        plugins=[FAKES],
    )


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[saeviz.Run, saeviz.Run]:
    folder = tmp_path_factory.mktemp("compared")
    found = made(folder / "paintings"), made(folder / "photos", seed=1)
    for run in found:  # a rating is data
        path = run.dir / "correlations.parquet"
        pd.read_parquet(path).replace({"rating": {"noise": HOSTILE}}).to_parquet(path, index=False)
        manifest = json.loads((run.dir / "run.json").read_text())
        del manifest["stages"]["score"]["sha256"]
        (run.dir / "run.json").write_text(json.dumps(manifest))
    return saeviz.open_run(found[0].dir, plugins=[FAKES]), saeviz.open_run(found[1].dir, plugins=[FAKES])


@pytest.mark.parametrize(("width", "height"), [(1400, 1000), (390, 844)])
@pytest.mark.parametrize("kind", ["relations", "features"])
def test_it_fits_its_window_and_nothing_in_it_runs(runs, browser: Browser, tmp_path, kind, width, height):
    one, other = runs if kind == "relations" else (runs[0], runs[0])
    found = saeviz.compare(one, other, kind)
    page = saeviz.component("reporter", "html").write_comparison(found, (one, other), tmp_path)
    browser.open(page, width=width, height=height)
    assert browser.messages == []
    assert browser.requests == [page.as_uri()]
    assert browser.run("window.broken") is None
    assert browser.run("document.images.length + document.scripts.length") == 0
    assert browser.run("document.documentElement.scrollWidth") <= width
    plots = browser.run("document.querySelectorAll('svg.plot').length")
    assert plots == (2 if kind == "relations" else 0)
    if kind == "relations":
        assert browser.run("document.querySelectorAll('svg.plot circle').length") == len(found.tables["relations"])
        assert browser.run("document.querySelectorAll('figcaption')[1].textContent").startswith("warm<img src=x")
        # a point is where its r is: the tick at the edge is the limit
        best = "[...document.querySelectorAll('svg.plot circle.both')].at(-1)"
        assert abs(browser.run(f"+{best}.getAttribute('cx')")) > 20
