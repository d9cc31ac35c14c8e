"""What a served run says about more than it stored, in a real browser: one's own image, words, neighbours, places."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import pytest

import saeviz
from tests.browser.tab import until
from tests.browser.test_live_in_browser import LOADED, opened, quiet
from tests.live import picture_of
from tests.service import Served

GIVE = """(() => {
  const bytes = Uint8Array.from(atob("%s"), (one) => one.charCodeAt(0));
  const given = new DataTransfer();
  given.items.add(new File([bytes], "%s", { type: "image/png" }));
  const input = document.getElementById("own-file");
  input.files = given.files;
  input.dispatchEvent(new Event("change"));
})()"""
TEXT = "document.getElementById('main').innerText"
ROWS_ABOVE = """(() => {
  const top = (one) => one.getBoundingClientRect().top;
  const all = [...document.querySelectorAll('main :is(button, select, input, summary)')];
  const shown = all.filter((one) => one.checkVisibility() && top(one) < top(document.querySelector('.scatter')));
  return new Set(shown.map((one) => Math.round(top(one) / 12))).size;
})()"""
IN_GROUPS = """async () => {
  const items = await saeviz.need("items");
  const codes = { kind: "u1", data: btoa(items.ids.map((_, item) => String.fromCharCode(item % 2)).join("")) };
  items.groups = { kind: "text", codes, values: ["a series", "another"] };
}"""


@pytest.fixture(scope="module")
def run(finished_copy: saeviz.Run) -> saeviz.Run:
    return finished_copy


def give(browser: Any, data: bytes, name: str = "mine.png") -> None:
    browser.run(GIVE % (b64encode(data).decode(), name))


@pytest.mark.parametrize("how", [{}, {"width": 390, "height": 844, "dark": True}], ids=["desktop", "phone"])
def test_an_image_of_ones_own(browser: Any, served: Served, how: dict[str, Any]) -> None:
    browser.open_url("about:blank", **how)
    browser.open_url(f"{served.url}/#view=look", **how)
    until(browser, "document.getElementById('own-file')")
    give(browser, picture_of("red"), "<img src=x onerror=alert(1)>.png")
    until(browser, "document.querySelector('.fires .heat')")
    text = browser.run(TEXT)
    assert "<img src=x onerror=alert(1)>.png" in text, "as text"
    assert "48 pixels" in text
    assert "features fire" in text
    assert "the run's embedding model" in text
    until(browser, LOADED % ".fires .thumbs")
    assert browser.run("document.querySelectorAll('.looked > section:last-child .picture').length") == 12
    assert browser.run("document.documentElement.scrollWidth <= innerWidth")
    browser.run("document.querySelector('.fires').click()")
    until(browser, "document.getElementById('card').open")
    quiet(browser, served)


def test_what_is_no_image_is_said_in_a_sentence(browser: Any, served: Served) -> None:
    opened(browser, served, "view=look")
    give(browser, b"%!PS")
    until(browser, "document.querySelector('.looked [role=alert]')")
    assert "not in a supported image format" in browser.run(TEXT)


def test_words_find_features_and_stay_in_the_address(browser: Any, served: Served) -> None:
    opened(browser, served, "view=features")
    browser.run("document.getElementById('words').value = 'something blue & “green”'")
    browser.run("document.querySelector('form.words').requestSubmit()")
    until(browser, "document.querySelector('.by-words .tile')")
    assert "like “something blue & “green””" in browser.run(TEXT)
    assert "words=something" in browser.run("location.hash")
    quiet(browser, served)
    browser.reload()
    until(browser, "document.querySelector('.by-words .tile')")
    browser.run("[...document.querySelectorAll('form.words button')].at(-1).click()")
    until(browser, "!document.querySelector('.by-words .tile')")
    assert "words" not in browser.run("location.hash")


def test_on_a_phone_few_rows_of_controls_stand_above_the_plot(browser: Any, served: Served) -> None:
    """All of them are reached by keyboard: what is folded away opens with Enter on its summary."""
    browser.open_url("about:blank")
    browser.open_url(f"{served.url}/#view=features", width=390, height=844)
    until(browser, "document.querySelector('.scatter')?.dataset.painter")
    assert browser.run(ROWS_ABOVE) <= 4
    assert browser.run("document.getElementById('words').checkVisibility()") is False
    browser.run("document.querySelector('.fold:has(#words) > summary').focus()")
    browser.call(
        "Input.dispatchKeyEvent", type="keyDown", key="Enter", code="Enter", windowsVirtualKeyCode=13, text="\r"
    )
    until(browser, "document.getElementById('words').checkVisibility()")
    assert browser.run("document.documentElement.scrollWidth") <= 390
    quiet(browser, served)


def test_a_card_has_neighbours_in_all_spaces(browser: Any, served: Served) -> None:
    opened(browser, served, "feature=layer1.cls/0")
    until(browser, "document.querySelector('.neighbours .near')")
    text = browser.run("document.querySelector('.neighbours').innerText")
    assert "In layer2.cls, on the same images" in text
    assert "does not show its decoder" in text
    browser.run("document.querySelector('.neighbours .near li').scrollIntoView()")
    until(browser, LOADED % ".neighbours .near li:first-child .thumbs")
    quiet(browser, served)


def test_where_images_come_in_groups_it_is_said_what_takes_them_for_independent(browser: Any, served: Served) -> None:
    for address, where, said in [
        ("view=features&words=red", ".by-words", "take the images for independent"),
        ("feature=layer1.cls/0", ".neighbours", "a large group of images counts more"),
    ]:
        opened(browser, served, "view=overview")
        assert browser.run(f"({IN_GROUPS})().then(() => location.hash = {address!r}, 1)")
        until(browser, f"document.querySelector('{where}')?.innerText.includes({said!r})")
    opened(browser, served, "view=features&words=red")
    until(browser, "document.querySelector('.by-words .tile')")
    assert "independent" not in browser.run("document.querySelector('.by-words').innerText")


def test_pointing_at_a_place_by_mouse_and_by_keyboard(browser: Any, served: Served) -> None:
    opened(browser, served, "view=image&image=picture/2")
    browser.run("document.querySelector('[data-key=pointing]').click()")
    browser.run(
        "document.querySelector('.aim').dispatchEvent("
        "new MouseEvent('click', {detail: 1, bubbles: true, cancelable: true, clientX: 0, clientY: 0}))"
    )
    until(browser, "document.querySelector('.pointed .near')")
    before = browser.run("document.querySelector('.mark-patch').style.left")
    assert "view=image" in browser.run("location.hash"), "the picture was not followed"
    for _ in range(6):
        browser.run(
            "document.querySelector('.aim').dispatchEvent("
            "new KeyboardEvent('keydown', {key: 'ArrowRight', bubbles: true, cancelable: true}))"
        )
    until(browser, f"document.querySelector('.mark-patch').style.left !== {before!r}")
    quiet(browser, served)
