"""From a run to `report/index.html` and the thumbnails beside it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import saeviz
from saeviz.toolkit.files import write_atomic
from saeviz_report import HtmlOptions
from saeviz_report.comparison import page_of
from saeviz_report.explained import explained
from saeviz_report.method import method_of
from saeviz_report.page import render, render_comparison
from saeviz_report.rows import feature_table
from saeviz_report.summary import summarise
from saeviz_report.thumbnails import folder_of, remove_other_thumbnails, write_thumbnails


class HtmlReport:
    """Writes the page of a run."""

    def __init__(self, options: HtmlOptions, context: saeviz.Context) -> None:
        self.options = options
        self.context = context

    def write(self, run: saeviz.Run) -> Path:
        """Write the page and return its path. An earlier page stays intact until the new one is complete.

        An image that can no longer be read is reported, listed on the page and shown as a placeholder.
        Raises `RunDirError` if the page cannot be written.
        """
        page = folder_of(run, "report") / "index.html"
        images = folder_of(run, "report/images")
        top_images = {
            chosen.feature: run.top_images(chosen.feature, self.options.top_images) for chosen in run.selected
        }
        items = {shown.item.item_id: shown.item for top in top_images.values() for shown in top}
        unreadable: list[saeviz.Failure] = []

        def failed(subject: str, error: str) -> None:
            unreadable.append(saeviz.Failure("report", subject, error))
            self.context.failed(subject, error)

        thumbnails = write_thumbnails(
            list(items.values()), images, self.options.thumbnail_size, replace(self.context, failed=failed)
        )
        failures = [failure for failure in run.failures if failure.stage != "report"] + unreadable
        method = method_of(run)
        html = render(
            title=self.options.title or run.dir.resolve().name,
            summary=summarise(run, method.correlations),
            method=method,
            table=feature_table(run, method, top_images),
            explained=explained(run),
            thumbnails=thumbnails,
            failures=failures,
        )
        write_atomic(page, html)
        remove_other_thumbnails(images, thumbnails.values())
        return page

    def write_comparison(self, found: saeviz.Comparison, runs: tuple[saeviz.Run, saeviz.Run], folder: Path) -> Path:
        """Write `index.html` about two runs; see `saeviz.ComparisonReporter`."""
        page = folder / "index.html"
        write_atomic(page, render_comparison(page_of(found, runs)))
        return page
