"""Axe finds nothing serious in any view, on a desk and on a phone, in light and in dark colours."""

from __future__ import annotations

import json
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

import saeviz
from saeviz_report import HtmlOptions
from saeviz_report.explorer.reporter import HtmlReport
from tests.browser.tab import SETTLED
from tests.conftest import FAKE_RUN

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("axe_core_python") is None, reason="the package axe-core-python is not installed"),
]
FOUND = """axe.run(document, {resultTypes: ['violations']}).then(({violations}) => violations
  .filter(({impact}) => ['serious', 'critical'].includes(impact))
  .flatMap(({id, nodes}) => nodes.map(({html}) => `${id}: ${html.slice(0, 200)}`)))"""


@pytest.fixture(scope="module")
def run(clean_environment: None, tmp_path_factory: pytest.TempPathFactory) -> saeviz.Run:
    path = tmp_path_factory.mktemp("report") / "fake.toml"
    path.write_text(FAKE_RUN)
    return saeviz.run(path)


@pytest.fixture(scope="module")
def page(run: saeviz.Run) -> Path:
    return HtmlReport(HtmlOptions(heatmaps=2), saeviz.Context()).write(run)


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (1280, True), (390, False), (390, True)])
def test_nothing_serious_in_any_view(browser: Any, run: saeviz.Run, page: Path, width: int, dark: bool) -> None:
    browser.open(page, width=width, height=900, dark=dark)
    browser.run(SETTLED)
    browser.run(f"{files('axe_core_python').joinpath('axe.min.js').read_text(encoding='utf-8')}; 1")
    chosen = run.selected[0].feature
    some = f"{str(chosen).partition('/')[0]}:{chosen.index}"
    feature, image = quote(str(chosen)), quote(run.items[0].item_id)
    views = [
        "view=overview",
        "view=features",
        f"view=features&plot=none&feature={feature}",
        f"view=images&by=-{quote(run.ratings[0])}",
        f"view=image&image={image}&all=1",
        f"view=lists&list=some&list.some={quote(some)}",
    ]
    found = {}
    for view in views:
        browser.run(f"location.hash = {json.dumps(view)}; 1")
        browser.run(SETTLED)
        browser.run("document.querySelectorAll('details').forEach(one => (one.open = true))")
        found[view] = browser.run(FOUND)
    assert {view: faults for view, faults in found.items() if faults} == {}
