"""The HTML report in a real browser, made from a real run of components that need no model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import saeviz
from saeviz_report import HtmlOptions
from saeviz_report.reporter import HtmlReport

ROWS = "[...document.querySelectorAll('.feature')]"
SHOWN = f"{ROWS}.filter(row => row.checkVisibility()).map(row => row.dataset.feature)"


class Varied(saeviz.Run):
    """The run with features of all its spaces in three tiers, named with text that would like to be a script."""

    @property
    def selected(self) -> list[saeviz.Selected]:
        features = [space.feature(index) for index in (0, 1, 2) for space in self.spaces]
        return [saeviz.Selected(feature, 1 + number % 3, "") for number, feature in enumerate(features)]

    @property
    def labels(self) -> Mapping[saeviz.Feature, saeviz.FeatureLabel]:
        hostile = "<img src=x onerror=window.broken=1><script>window.broken=1</script>"
        return {
            selected.feature: saeviz.FeatureLabel(f"concept {number}", hostile, (hostile,), hostile, 0.5)
            for number, selected in enumerate(self.selected[:-1], start=1)
        }


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> saeviz.Run:
    finished = saeviz.run(
        {
            "run": {"dir": str(tmp_path_factory.mktemp("browser") / "run")},
            "images": {"use": "fake-images", "n": 24},
            "extractor": {"use": "fake-extractor", "tokens": ["cls", "patch-max"]},
            "store": {"use": "fake-store"},
            "embeddings": {"use": "fake-embeddings"},
            "scorers": [{"use": "fake-scorer"}],
            "selector": {"use": "fake-selector"},
            "labeler": {"use": "none"},
            "reporters": [],
        },
        plugins=["module:saeviz.testing.fakes"],
    )
    finished.__class__ = Varied
    return finished


@pytest.fixture(scope="module")
def page(run: saeviz.Run) -> Path:
    return HtmlReport(HtmlOptions(), saeviz.Context()).write(run)


def in_page_order(run: saeviz.Run) -> list[saeviz.Selected]:
    """The strongest relation with any rating first; of what is equal the selector's first."""
    table = run.correlations
    r = {selected.feature: saeviz.rows_about(table, [selected.feature])["r"] for selected in run.selected}
    strongest = {feature: found.abs().max() if found.notna().any() else -1.0 for feature, found in r.items()}
    return sorted(run.selected, key=lambda selected: -strongest[selected.feature])


def values(run: saeviz.Run, column: str) -> dict[str, float]:
    """A score of the selected features, by feature, in the order of the page; `r` is that with the rating warmth."""
    table = run.scores if column in run.scores else run.correlations[run.correlations["rating"] == "warmth"]
    every = {f"layer{row.layer}.{row.tokens}/{row.feature}": getattr(row, column) for row in table.itertuples()}
    return {str(selected.feature): every[str(selected.feature)] for selected in in_page_order(run)}


def choose(browser: Any, control: str, value: str) -> None:
    browser.run(
        f"(control => {{ control.value = {value!r};"
        "for (const kind of ['input', 'change']) control.dispatchEvent(new Event(kind, {bubbles: true})); })"
        f"(document.getElementById({control!r}))"
    )


@pytest.fixture
def opened(browser: Any, page: Path) -> Any:
    browser.open(page)
    return browser


def by_value(scores: dict[str, float], key: Any) -> list[str]:
    """Features ordered by `key` of their score; those without one last, equal ones by rank."""
    return sorted(scores, key=lambda feature: (scores[feature] != scores[feature], key(scores[feature])))


class TestSorting:
    @pytest.mark.parametrize(
        ("way", "column", "key"),
        [
            ("active high", "n_active", lambda value: -value),
            ("active low", "n_active", lambda value: value),
            ("s0 low", "coverage", lambda value: value),
            ("r0 size", "r", lambda value: -abs(value)),
            ("r0 high", "r", lambda value: -value),
            ("r0 low", "r", lambda value: value),
        ],
    )
    def test_by_the_list(self, opened: Any, run: saeviz.Run, way: str, column: str, key: Any) -> None:
        expected = by_value(values(run, column), key)
        assert opened.run(SHOWN) == [str(selected.feature) for selected in in_page_order(run)]
        choose(opened, "sort", "r0 high" if way == "r0 low" else "r0 low")
        assert opened.run(SHOWN) != expected
        choose(opened, "sort", way)
        assert opened.run(SHOWN) == expected

    def test_a_header_steps_through_its_ways_and_says_which(self, opened: Any, run: saeviz.Run) -> None:
        r = values(run, "r")
        for said, key in (
            ("other", lambda value: -abs(value)),
            ("descending", lambda value: -value),
            ("ascending", lambda value: value),
            ("other", lambda value: -abs(value)),
        ):
            opened.run("document.querySelector('th[data-column=r0] button').click()")
            assert opened.run(SHOWN) == by_value(r, key)
            assert opened.run("document.querySelector('th[data-column=r0]').ariaSort") == said
            assert opened.run("document.querySelectorAll('th[aria-sort]').length") == 1


class TestFinding:
    def test_by_words_of_the_name_the_number_or_an_image(self, opened: Any, run: saeviz.Run) -> None:
        choose(opened, "find", "CONCEPT 3")
        assert opened.run(SHOWN) == [str(run.selected[2].feature)]
        last = run.selected[-1].feature
        choose(opened, "find", f" {last} ")
        assert opened.run(SHOWN) == [str(last)]
        item_id = run.top_images(last, 8)[0].item.item_id
        choose(opened, "find", item_id)
        assert opened.run(SHOWN) == [
            str(selected.feature)
            for selected in in_page_order(run)
            if any(item_id in shown.item.item_id for shown in run.top_images(selected.feature, 8))
        ]

    def test_by_tier_and_space_together(self, opened: Any, run: saeviz.Run) -> None:
        tier, space = run.selected[-1].tier, str(run.selected[-1].feature).partition("/")[0]
        choose(opened, "tier", str(tier))
        choose(opened, "space", space)
        expected = [
            str(selected.feature)
            for selected in in_page_order(run)
            if selected.tier == tier and str(selected.feature).startswith(f"{space}/")
        ]
        assert opened.run(SHOWN) == expected
        assert (
            opened.run("document.getElementById('shown').value") == f"{len(expected)} of {len(run.selected)} features"
        )

    def test_nothing_found_is_said_and_can_be_undone(self, opened: Any, run: saeviz.Run) -> None:
        choose(opened, "find", "no such concept")
        assert opened.run(SHOWN) == []
        assert opened.run("document.getElementById('nothing').checkVisibility()")
        opened.run("document.getElementById('clear').click()")
        assert len(opened.run(SHOWN)) == len(run.selected)
        assert not opened.run("document.getElementById('nothing').checkVisibility()")


class TestTheWholePage:
    def test_loads_its_pictures_and_nothing_else_without_a_complaint(self, browser: Any, page: Path) -> None:
        browser.open(page, height=20_000)
        loaded = "Promise.all([...document.images].map(image => image.decode().then(() => image.naturalWidth)))"
        widths = browser.run(loaded)
        assert widths
        assert all(width > 0 for width in widths)
        folder = page.parent.as_uri()
        assert [address for address in browser.requests if not address.startswith(f"{folder}/")] == []
        assert browser.messages == []

    def test_text_that_would_be_a_script_is_text(self, opened: Any) -> None:
        assert opened.run("typeof window.broken") == "undefined"
        assert opened.run("document.querySelector('.description').textContent").startswith("<img src=x")

    def test_a_script_from_elsewhere_would_not_run(self, opened: Any) -> None:
        opened.run(
            "document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.broken = 1'}))"
        )
        assert opened.run("typeof window.broken") == "undefined"
        assert any("Content Security Policy" in message for message in opened.messages)

    def test_without_scripts_everything_is_there_and_no_control_is_dead(
        self, browser: Any, page: Path, run: saeviz.Run
    ) -> None:
        browser.call("Emulation.setScriptExecutionDisabled", value=True)
        try:
            browser.open(page)
            assert browser.run(SHOWN) == [str(selected.feature) for selected in in_page_order(run)]
            assert not browser.run("document.getElementById('controls').checkVisibility()")
            assert browser.run("document.querySelectorAll('th button').length") == 0
        finally:
            browser.call("Emulation.setScriptExecutionDisabled", value=False)

    @pytest.mark.parametrize("width", [360, 800, 1000, 1400])
    def test_no_width_needs_sideways_scrolling(self, browser: Any, page: Path, width: int) -> None:
        browser.open(page, width=width)
        assert browser.run("document.documentElement.scrollWidth") <= width

    @pytest.mark.parametrize("dark", [False, True])
    def test_text_stands_out_from_the_paper(self, browser: Any, page: Path, dark: bool) -> None:
        browser.open(page, dark=dark)
        for selector in ("h1", ".which", ".activation", "a", ".legend"):
            text, paper = (
                luminance(browser.run(f"getComputedStyle(document.querySelector({of!r})).{what}"))
                for of, what in ((selector, "color"), ("body", "backgroundColor"))
            )
            assert (text > paper) == dark
            # 4.5 is what WCAG 2 asks for at level AA.
            assert (max(text, paper) + 0.05) / (min(text, paper) + 0.05) >= 4.5, selector


def luminance(colour: str) -> float:
    """Relative luminance of `rgb(r, g, b)`, by WCAG 2."""
    channels = [int(part) / 255 for part in colour.removeprefix("rgb(").removesuffix(")").split(",")]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
