"""A served run in a real browser: cards, heatmaps on demand, images, and what is said where something is missing."""

from __future__ import annotations

from typing import Any

import pytest

import saeviz
from tests.browser.tab import SETTLED, messages_of, until
from tests.conftest import FAKES
from tests.service import TOKEN, Served

LOADED = "[...document.querySelectorAll('%s img')].some(one => one.complete && one.naturalWidth > 0)"

FIRST_MAP_EMPTY = """(({ live }, asked) => {
  const answer = live.heatmap;
  live.heatmap = async (...of) => ({ ...(await answer(...of)), largest: asked++ });
})(saeviz, 0)"""


@pytest.fixture(scope="module")
def run(finished_copy: saeviz.Run) -> saeviz.Run:
    return finished_copy


def opened(browser: Any, served: Served, address: str) -> Any:
    browser.open_url("about:blank")
    browser.open_url(f"{served.url}/#{address}")
    browser.run(SETTLED)
    return browser


def quiet(browser: Any, served: Served) -> None:
    """Nothing on the console, and no other host is asked."""
    assert messages_of(browser) == []
    asked = [url for url in browser.requests if not url.startswith(("data:", "blob:", "about:"))]
    assert asked
    assert all(url.startswith(f"{served.url}/") for url in asked)


def active(run: saeviz.Run) -> str:
    """A feature with a heatmap that is not empty on its strongest image."""
    names = (f"{run.spaces[0]}/{index}" for index in range(run.spaces[0].n_features))
    return next(
        one for one in names if (top := run.top_images(one)) and run.heatmap(one, top[0].item.item_id).max() > 0
    )


def test_a_card_of_any_feature_has_pictures_and_shows_where_it_fires(
    browser: Any, served: Served, run: saeviz.Run
) -> None:
    opened(browser, served, f"feature={active(run)}")
    until(browser, LOADED % "#card .picture")
    assert "There are no" not in browser.run("document.body.innerText")
    for box in ("heat", "fine"):
        browser.run(f"document.getElementById('{box}').click()")
        until(browser, "document.querySelectorAll('#card .heat').length > 0")
    browser.run("document.getElementById('heat').click()")
    assert browser.run("document.querySelectorAll('#card .heat').length") == 0
    quiet(browser, served)


def test_pictures_on_which_no_patch_has_it_are_counted(browser: Any, served: Served, run: saeviz.Run) -> None:
    """Their maps are empty, so that they only turn grey."""
    opened(browser, served, f"feature={active(run)}")
    browser.run(FIRST_MAP_EMPTY)
    shown = browser.run("document.querySelector('#card .strip').children.length")
    browser.run("document.getElementById('heat').click()")
    said = f"On 1 of {shown} pictures it fires on no patch"
    until(browser, f"document.getElementById('card').innerText.includes('{said}')")


def test_an_image_has_its_features_and_those_like_it(browser: Any, served: Served, run: saeviz.Run) -> None:
    opened(browser, served, f"view=image&image={run.items[2].item_id}&all=1")
    text = browser.run("document.getElementById('main').innerText")
    assert "features fire on it" in text
    assert "Most similar images" in text
    until(browser, LOADED % ".large")
    quiet(browser, served)


@pytest.mark.slow
def test_what_is_missing_is_said(browser: Any, run: saeviz.Run) -> None:
    served = Served(run.dir, token=None)
    try:
        opened(browser, served, f"feature={active(run)}")
        text = browser.run("document.body.innerText")
        assert "Pictures and ratings are not available: images: no plugin offers the images 'fake-images'" in text
        assert "There are no heatmaps: extractor: no plugin offers the extractor 'fake-extractor'" in text
        quiet(browser, served)
    finally:
        served.stop()


def test_a_link_on_another_page_brings_the_token_and_later_links_need_none(browser: Any, run: saeviz.Run) -> None:
    """As a colleague would send it; a browser says with both that another site's page is left."""
    served = Served(run.dir, "--plugins", FAKES)
    try:
        for link in (f"/?token={TOKEN}%23images", "/%23images"):
            browser.open_url(f"data:text/html,<a href='{served.url}{link}'>look at this</a>")
            browser.follow("a")
            assert "wants a token" not in browser.run("document.body.innerText")
            browser.run(SETTLED)
            assert browser.run("location.href") == f"{served.url}/#images"
    finally:
        browser.call("Network.clearBrowserCookies")
        assert TOKEN not in served.stop()
