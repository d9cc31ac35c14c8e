"""The run that a report is written of, and its writing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import saeviz
from saeviz_report import HtmlOptions
from saeviz_report.explorer.reporter import HtmlReport
from tests.plugins.report.page import FakeRun, Write, make_run
from tests.report_data import Report


@pytest.fixture
def run(tmp_path: Path) -> FakeRun:
    """Three selected features of two spaces, six images, two ratings."""
    return make_run(tmp_path)


@pytest.fixture
def write(run: FakeRun) -> Write:
    def _write(context: saeviz.Context | None = None, **options: Any) -> Report:
        page = HtmlReport(HtmlOptions(**options), context or saeviz.Context()).write(run)  # type: ignore[arg-type]
        return Report(page.parent)

    return _write
