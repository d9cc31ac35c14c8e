"""The overview in a real browser: what the data files say is what a reader sees, and can copy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import saeviz
from tests.browser.tab import CARD, SETTLED, Tab
from tests.plugins.report.page import CLS, FakeRun, explain, hold_out, judge, make_run
from tests.report_data import Report

MINUS, DASH = "\N{MINUS SIGN}", "\N{EN DASH}"
CELLS = "[...document.querySelectorAll('%s tr')].map(row => [...row.cells].map(cell => cell.innerText.trim()))"
CLIPBOARD = "Object.defineProperty(navigator, 'clipboard', {configurable: true, value: {writeText: %s}}), 1"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> FakeRun:
    """A run with everything that an overview can tell of."""
    made = make_run(tmp_path_factory.mktemp("overview"))
    hold_out(made, correlation_margin=0.1, correlation_detectable_beauty=0.8765)
    judge(made, 5, 7)
    explain(made)
    weights = [-0.3, *[np.nan] * 6]
    made.correlations = made.correlations.assign(lasso_weight=weights)
    work = {"what": "Embedding", "authors": "Roe & Poe (2024)", "title": "Seeing {as} one", "where": "arXiv:2401.1"}
    made.manifest["plugins"] = {"embeddings": {"cites": [work]}}
    made.failures = [saeviz.Failure("extract", f"broken {number}", "gone") for number in range(1234)]
    return made


def text_of(tab: Tab) -> str:
    """All text, with every part unfolded."""
    return str(
        tab.run(
            "(document.querySelectorAll('details').forEach(one => (one.open = true)),"
            "document.getElementById('main').innerText)"
        )
    )


def test_ratings_with_what_is_left_on_held_out_images_the_ceiling_and_what_features_explain(tab: Tab) -> None:
    heads, beauty, calm = tab.run(CELLS % "#ratings")
    found = {name: dict(zip(heads, cells, strict=True)) for name, cells in (("beauty", beauty), ("calm", calm))}
    assert found["beauty"] == {
        "Rating": "beauty", "Images": "6", "Mean (SD)": "2.50 (1.87)", "Tested": "4", "Significant": "2", "r > 0": "1",
        "r < 0": "1", "Replicated": "1 of 2", "Strongest r": f"{MINUS}0.60", "Strongest r, held out": "+0.60",
        "Ceiling of |r|": "0.80", "Features explain (R²)": "0.31 ± 0.05", "Detectable |r|": "0.88",
    }  # fmt: skip
    assert (found["calm"]["Replicated"], found["calm"]["Ceiling of |r|"]) == ("0 of 1", DASH)


def test_ratings_as_a_whole(tab: Tab) -> None:
    _, reliability, _, *predicted = tab.run(CELLS % "#explained")
    assert reliability == ["beauty", "6", "31", "4.5", "0.20", "0.640", DASH, "0.640", "0.800", "one-way"]
    assert predicted == [
        ["beauty", "6", "layer8.cls", "0.31 ± 0.05", "0.21 ± 0.05", "3", "0.41 ± 0.05", "0.51 ± 0.05", "0.64"],
        ["beauty", "6", "all together", DASH, DASH, DASH, DASH, "", ""],
        ["calm", "6", "layer8.cls", f"{MINUS}0.02", DASH, DASH, DASH, DASH, DASH],
        ["mood=joy", "6", "layer8.cls", "0.12 ± 0.05, AUC 0.71", DASH, DASH, DASH, DASH, DASH],
    ]


def test_everything_is_said_in_words_and_nothing_as_undefined(tab: Tab) -> None:
    text = text_of(tab)
    for part in (
        "Few images are rated",
        f"{MINUS}0.30 red barn",
        "1,234 left out",
        "734 more are listed in failures.jsonl",
        "1 min 15 s",
        "saeviz 0.1.0",
        "The whole configuration",
        "How to read the numbers",
        "independent of one another",
        "Methods to cite",
    ):
        assert part in text
    for word in ("undefined", "NaN", "None", "[object"):
        assert word not in text


@pytest.mark.parametrize(("title", "name"), [("Methods", "text"), ("BibTeX", "bibtex")])
def test_methods_and_references_are_copied_or_marked(tab: Tab, page: Path, title: str, name: str) -> None:
    expected = Report(page.parent).run["methods"][name]
    button = f"""document.querySelector('button[aria-label="Copy: {title}"]')"""
    tab.run(CLIPBOARD % "text => (window.copied = text, Promise.resolve())")
    tab.do(f"{button}.click()")
    assert tab.run("window.copied") == expected
    tab.run(CLIPBOARD % "() => Promise.reject(new Error('not allowed'))")
    tab.do(f"{button}.click()")
    tab.until("getSelection().toString() !== ''")
    assert str(tab.run("getSelection().toString()")).split() == expected.split()


def test_a_name_that_fails_is_struck_out_with_its_figures_and_images(tab: Tab) -> None:
    tab.go(f"view=features&plot=none&feature={CLS.feature(7)}")
    assert "doubtful" in tab.run("document.getElementById('card-title').className")
    text = tab.run(f"({CARD}.querySelectorAll('details').forEach(one => (one.open = true)), {CARD}.innerText)")
    for part in ("name fails", "balanced accuracy", "of 4 look-alikes", "Visual elements: roof, door", "A barn."):
        assert part in text
    judged = tab.run("[...document.querySelectorAll('#card details')].map(one => one.innerText)")
    assert any("The 24 images on which the name was judged" in one for one in judged)
    tab.go("view=features&plot=none")
    names = tab.run(
        "[...document.querySelectorAll('.rows .doubtful')].map(one => one.parentElement.querySelector('.id').innerText)"
    )
    assert names == [str(CLS.feature(7))]


def test_a_card_has_p_and_what_the_held_out_images_say(tab: Tab) -> None:
    tab.go(f"view=features&plot=none&feature={CLS.feature(7)}")
    heads, beauty, *_ = tab.run(CELLS % '#card [aria-label="Correlations with ratings"]')
    found = dict(zip(heads, beauty, strict=True))
    assert (found["its q"], found["its images"]) == ("0.02", "5")
    assert {"p", "q", "Images"} <= set(heads)


@pytest.mark.parametrize("dark", [False, True])
def test_text_stands_out_from_the_paper(browser: Any, page: Path, dark: bool) -> None:
    browser.open(page, dark=dark)
    browser.run(SETTLED)
    for selector in ("h2", ".note", ".figure span", "table a", ".warnings p", ".quote", "dt"):
        text, paper = browser.run(
            "(one => { let ground = one; const colour = of => getComputedStyle(of).backgroundColor;"
            "while (ground && colour(ground) === 'rgba(0, 0, 0, 0)') ground = ground.parentElement;"
            "return [getComputedStyle(one).color, colour(ground ?? document.documentElement)]; })"
            f"(document.querySelector({json.dumps('main ' + selector)}))"
        )
        light, other = luminance(text), luminance(paper)
        assert (light > other) == dark
        # 4.5 is what WCAG 2 asks for at level AA.
        assert (max(light, other) + 0.05) / (min(light, other) + 0.05) >= 4.5, selector


def luminance(colour: str) -> float:
    """Relative luminance of `rgb(r, g, b)`, by WCAG 2."""
    channels = [int(part) / 255 for part in colour.removeprefix("rgb(").removesuffix(")").split(",")]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("width", [360, 800, 1000, 1400])
def test_no_width_needs_sideways_scrolling(browser: Any, page: Path, width: int) -> None:
    browser.open(page, width=width)
    browser.run(SETTLED)
    assert browser.run("document.documentElement.scrollWidth") <= width


def test_a_browser_without_scripts_is_told(browser: Any, page: Path) -> None:
    browser.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.open(page)
        text = browser.run("document.body.innerText")
        assert "needs JavaScript" in text
        assert "scores.parquet" in text
        assert "selected.csv" in text
    finally:
        browser.call("Emulation.setScriptExecutionDisabled", value=False)


def test_a_script_from_elsewhere_would_not_run(browser: Any, page: Path) -> None:
    browser.open(page)
    browser.run(
        "document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.broken = 1'}))"
    )
    assert browser.run("typeof window.broken") == "undefined"
    assert any("Content Security Policy" in message for message in browser.messages)
