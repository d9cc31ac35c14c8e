"""The report stays where its reader is: by keyboard, however fast, however often something is drawn anew."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

import saeviz
from saeviz_report import HtmlOptions
from saeviz_report.explorer.reporter import HtmlReport
from tests.browser.tab import ANY_WEBGL, CARD, DRAWN, NAMES, ZOOM_OUT, Tab, press

FOCUSED = "document.activeElement.textContent"


@pytest.fixture(scope="module")
def page(finished_copy: saeviz.Run) -> Path:
    return HtmlReport(HtmlOptions(), saeviz.Context()).write(finished_copy)


@pytest.fixture
def tab(browser: Any, page: Path) -> Tab:
    return Tab(browser, page)


def test_a_card_is_opened_turned_over_and_left_by_keyboard_and_the_focus_returns(tab: Tab) -> None:
    tab.go("view=features&plot=none")
    names = tab.run(NAMES)
    tab.run("document.querySelector('.rows a').focus()")
    press(tab, "Enter")
    assert tab.run("saeviz.state.get('feature')") == names[0]
    for name in names[1:4]:
        press(tab, "ArrowRight")
        assert tab.run("saeviz.state.get('feature')") == name
    press(tab, "Escape")
    assert not tab.run(f"{CARD}.open")
    assert names[0] in tab.run(FOCUSED)


def test_what_has_the_focus_keeps_it_and_an_open_menu_stays_open(tab: Tab) -> None:
    tab.go("view=features&plot=none")
    tab.run("document.querySelector('.menu:has(.choices .box)').open = true")
    for selector in (".head button", ".filters input[type=checkbox]", ".choices .box input"):
        tab.run(f"document.querySelector({selector!r}).focus()")
        tab.do("document.activeElement.click()")
        assert tab.run(f"document.activeElement === document.querySelector({selector!r})")
    assert tab.run("document.querySelector('.menu:has(.choices .box)').open")


def test_a_row_with_the_focus_keeps_it_while_the_table_moves(tab: Tab) -> None:
    tab.go("view=features&plot=none")
    tab.run("document.querySelectorAll('.rows a')[12].focus()")
    name = tab.run(FOCUSED)
    tab.run("document.querySelector('.grid').scrollTop = 580")
    tab.until(f"!{json.dumps(name)}.includes({NAMES}[0])")
    assert tab.run(FOCUSED) == name


def test_from_an_image_of_a_card_the_focus_goes_to_the_page_of_the_image(tab: Tab) -> None:
    tab.go("view=images")
    tab.run("window.scrollTo(0, 1e6), document.querySelector('.picture:last-child').focus()")
    press(tab, "Enter")
    assert tab.run("document.activeElement.id") == "main"
    assert tab.run("window.scrollY") == 0


def test_a_card_that_was_left_before_it_was_there_stays_away(tab: Tab) -> None:
    tab.go("view=features&plot=none")
    [first, second] = tab.run(NAMES)[:2]
    tab.do(f"location.hash = 'view=features&plot=none&feature={first}'")
    tab.do("saeviz.state.set({feature: ''})")
    tab.run("""(() => {
      const slow = saeviz.rowsWanted;
      saeviz.rowsWanted = async (features) => (await new Promise(done => setTimeout(done, 80)), slow(features));
    })()""")
    tab.run(f"location.hash = 'view=features&plot=none&feature={second}', new Promise(done => setTimeout(done, 20))")
    tab.run("saeviz.state.set({feature: ''}), new Promise(done => setTimeout(done, 200))")
    assert not tab.run(f"{CARD}.open")


def test_a_plot_that_is_drawn_again_and_again_leaves_nothing_behind(tab: Tab) -> None:
    """A browser has some 16 contexts of its graphics processor."""
    tab.run(ANY_WEBGL)
    for number in range(24):
        tab.go(f"view=features&plot=ms&columns={'tier' if number % 2 else 'rank'}")
        tab.run(DRAWN)
        tab.run(ZOOM_OUT)
    assert tab.run("document.querySelector('.scatter').dataset.painter") == "webgl2"
    assert tab.messages() == []


def test_a_plot_whose_graphics_processor_goes_away_is_drawn_without_it(tab: Tab) -> None:
    tab.run(ANY_WEBGL)
    tab.go("view=features&plot=ms")
    tab.run(DRAWN)
    tab.run(ZOOM_OUT)
    tab.run("document.querySelector('.dots').getContext('webgl2').getExtension('WEBGL_lose_context').loseContext()")
    tab.until("document.querySelector('.scatter').dataset.painter === 'canvas'")
    assert tab.run("document.querySelector('.dots').getContext('2d') !== null")


def test_the_last_feature_of_a_table_too_tall_for_a_browser_is_reached(
    browser: Any, page: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "report"
    shutil.copytree(page.parent, folder)
    [script] = folder.rglob("views.js")
    script.write_text(re.sub(r"TALLEST = \w+", "TALLEST = 1200", script.read_text()))
    tab = Tab(browser, folder / "index.html")
    tab.go("view=features&plot=none&sort=n_active")
    tab.run("document.querySelector('.grid').scrollTop = 1e9")
    rows = "[...document.querySelectorAll('.rows .row')].map(one => Number(one.getAttribute('aria-rowindex')))"
    tab.until(f"{rows}.at(-1) === 65")
    shown = tab.run(rows)
    assert shown == list(range(shown[0], shown[-1] + 1))
    assert shown[-1] == int(tab.run("document.querySelector('.grid').ariaRowCount ?? 0") or 65) == 65
    box, last = (
        tab.run(f"document.querySelector({selector!r}).getBoundingClientRect().bottom")
        for selector in (".grid", ".rows .row:last-child")
    )
    assert abs(box - last) < 20


@pytest.mark.parametrize("ends", [(1.7e18, 1.7e18 + 256), (0.5, 0.5 + 2e-16), (-1e300, 1e300), (0, 1)])
def test_ticks_are_few_however_near_or_far_the_ends_are(tab: Tab, ends: tuple[float, float]) -> None:
    assert tab.run(f"saeviz.ticks({ends[0]!r}, {ends[1]!r}).length") <= 11


def test_on_paper_a_table_is_as_long_as_its_rows(tab: Tab) -> None:
    tab.go("view=features&plot=none")
    tab.browser.call("Emulation.setEmulatedMedia", media="print")
    try:
        tab.run("document.querySelector('.tall').style.height = '8000000px'")
        assert tab.run("document.documentElement.scrollHeight") < 10_000
    finally:
        tab.browser.call("Emulation.setEmulatedMedia", media="")
