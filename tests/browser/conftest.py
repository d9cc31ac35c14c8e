"""A browser for all tests, and for those of a module the report of its `run`."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import saeviz
from saeviz_report import HtmlOptions
from saeviz_report.explorer.reporter import HtmlReport
from tests.browser.chromium import CHROMIUM, Browser
from tests.browser.tab import Tab


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed")
    with tempfile.TemporaryDirectory(prefix="saeviz-browser-", ignore_cleanup_errors=True) as profile:
        tab = Browser(profile)
        try:
            yield tab
        finally:
            tab.close()


@pytest.fixture(scope="module")
def page(run: saeviz.Run) -> Path:
    """The report of the run of a module."""
    return HtmlReport(HtmlOptions(), saeviz.Context()).write(run)


@pytest.fixture
def tab(browser: Browser, page: Path) -> Iterator[Tab]:
    """The report in the browser, which has nothing to complain of afterwards."""
    opened = Tab(browser, page)
    yield opened
    assert opened.messages() == []
