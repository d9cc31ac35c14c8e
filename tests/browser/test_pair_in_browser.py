"""Two served runs in a real browser: from the comparison to a feature, to its partner in the other run, and back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import saeviz
from tests.browser.tab import SETTLED, until
from tests.browser.test_comparison_in_browser import made
from tests.conftest import FAKES
from tests.service import Served

pytestmark = pytest.mark.slow
SECTIONS = "[...document.querySelectorAll('#card section')]"
PARTNER = SECTIONS + ".find(one => one.textContent.startsWith('In %s')).querySelector('a')"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[saeviz.Run, saeviz.Run]:
    folder = tmp_path_factory.mktemp("pair")
    return made(folder / "paintings"), made(folder / "photos", seed=1)


@pytest.fixture(scope="module")
def served(runs: tuple[saeviz.Run, saeviz.Run]) -> Iterator[Served]:
    served = Served(*(run.dir for run in runs), "--plugins", FAKES, token=None)
    yield served
    assert "Traceback" not in served.stop()


@pytest.mark.parametrize(("width", "height", "dark"), [(1280, 900, False), (390, 844, True)])
def test_from_the_comparison_to_a_feature_to_its_partner_and_back(
    browser: Any, served: Served, width: int, height: int, dark: bool
) -> None:
    while True:
        browser.open_url(served.url, width=width, height=height, dark=dark)
        if browser.run("document.styleSheets.length"):
            break
    assert browser.run("document.documentElement.scrollWidth") <= width
    assert browser.run("getComputedStyle(document.body).maxWidth") != "none", "the policy lets its style load"
    address = browser.run("document.querySelector('table a').href")
    browser.open_url(address)
    browser.run(SETTLED)
    feature = browser.run("document.getElementById('card').dataset.feature")
    until(browser, f"{PARTNER % 'photos'}?.href")
    browser.open_url(browser.run(f"{PARTNER % 'photos'}.href"))
    browser.run(SETTLED)
    assert browser.run("location.pathname") == "/b/"
    assert browser.run("document.getElementById('card').dataset.feature") == feature
    until(browser, f"{PARTNER % 'paintings'}?.href")
    assert browser.run(f"{PARTNER % 'paintings'}.href").startswith(f"{served.url}/a/#feature=")
    browser.open_url(browser.run("[...document.querySelectorAll('nav a')].at(-1).href"))
    assert browser.run("location.pathname") == "/"
    assert browser.messages == []
