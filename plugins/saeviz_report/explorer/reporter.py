"""From a run to `report/index.html`, the viewer beside it, and the data it shows; or to one file with all of it."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory

import saeviz
from saeviz.toolkit.files import OneWriter, write_atomic
from saeviz_report import HtmlOptions
from saeviz_report.comparison import page_of
from saeviz_report.comparison_page import STYLE, render_comparison, style_of_comparison
from saeviz_report.explorer.activations import FEATURES_A_FILE, IMAGES_A_FILE, activations_of, by_feature, by_image
from saeviz_report.explorer.cards import cards_of
from saeviz_report.explorer.columns import Rows, columns_of, infos_of
from saeviz_report.explorer.files import ContentFolder, SinglePage
from saeviz_report.explorer.heatmaps import heatmaps_of
from saeviz_report.explorer.items import items_of
from saeviz_report.explorer.leftovers import ONE_FILE, remove_other_forms
from saeviz_report.explorer.neighbours import directions_of, neighbours_of
from saeviz_report.explorer.notes import notes_of
from saeviz_report.explorer.overview import overview_of
from saeviz_report.method import method_of
from saeviz_report.summary import summarise
from saeviz_report.thumbnails import Thumbnail, folder_of, remove_other_thumbnails, write_thumbnails

VERSION = 1
"""Of the layout of the data files: a viewer of a later version reads those of an earlier one."""
SCRIPTS = (
    "core", "live", "table", "chart", "export", "paint", "scatter", "plots", "filters", "views", "overview",
    "heatmap", "enlarge", "relations", "ask", "card", "notes", "pair", "wall", "image", "pages", "look", "main",
)  # fmt: skip
"""Of the viewer, in the order in which they are loaded."""
MOST_THUMBNAILS = 5_000


class HtmlReport:
    """Writes the report of a run as a folder or one file, and the page about two runs."""

    def __init__(self, options: HtmlOptions, context: saeviz.Context) -> None:
        self.options = options
        self.context = context

    def write(self, run: saeviz.Run) -> Path:
        """Write viewer and data, and return the path of the page, which is written last.

        An image that can no longer be read is reported and has no picture. Raises `RunDirError` if a file cannot be
        written.
        """
        if self.options.single_file:
            with TemporaryDirectory() as pictures:
                page = self._write_one(run, Path(pictures))
            remove_other_forms(run, single_file=True)
            return page
        folder, kept = folder_of(run, "report"), folder_of(run, "report/pictures")
        writer = OneWriter(folder)
        writer.claim()
        try:
            page = self._write(run, folder, kept)
        finally:
            writer.release()
        remove_other_forms(run, single_file=False)
        return page

    def write_viewer(self, run: saeviz.Run, folder: Path) -> Path:
        """Write viewer and data, without activations, pictures and heatmaps: the page asks its host for them."""
        return self._write(run, folder, None)

    def write_comparison(
        self,
        found: saeviz.Comparison,
        runs: tuple[saeviz.Run, saeviz.Run],
        folder: Path,
        viewers: tuple[str, str] | None = None,
    ) -> Path:
        """Write `index.html` about two runs; see `saeviz.ComparisonReporter`."""
        page = folder / "index.html"
        if viewers:
            write_atomic(folder / STYLE, style_of_comparison())
        write_atomic(page, render_comparison(page_of(found, runs, viewers)))
        return page

    def _write(self, run: saeviz.Run, folder: Path, kept: Path | None) -> Path:
        content = ContentFolder(folder)
        for name in VIEWER:
            content.add(f"viewer/{name}", _viewer_file(name))
        pictures = self._write_data(run, kept, content)
        written = content.finish()
        page = folder / "index.html"
        html = re.sub(r'(?<=href="|.src=")(?=\w+\.(css|js)")', f"{written.name}/viewer/", _viewer_file(page.name))
        if kept is None:
            html = html.replace("script-src ", "connect-src 'self'; script-src ", 1)
        write_atomic(page, html)
        content.remove_others(written)
        if kept is not None:
            remove_other_thumbnails(kept, pictures.values())
        return page

    def _write_one(self, run: saeviz.Run, folder: Path) -> Path:
        data = SinglePage()
        pictures = self._write_data(run, folder, data)
        inside = {
            picture.file: f"data:image/webp;base64,{b64encode((folder / picture.file).read_bytes()).decode()}"
            for picture in pictures.values()
        }
        data.write("pictures", inside)
        style, *scripts = map(_viewer_file, VIEWER)
        page = run.dir / ONE_FILE
        write_atomic(page, data.page(_viewer_file("index.html"), style, "".join(scripts)))
        return page

    def _write_data(
        self, run: saeviz.Run, folder: Path | None, data: ContentFolder | SinglePage
    ) -> Mapping[str, Thumbnail]:
        """Write all data files and, into `folder`, the pictures; without a folder only what a served page needs."""
        is_live, options = folder is None, self.options
        unreadable: list[saeviz.Failure] = []

        def failed(subject: str, error: str) -> None:
            unreadable.append(saeviz.Failure("report", subject, error))
            self.context.failed(subject, error)

        context = replace(self.context, failed=failed)
        wanted = _shown(run, options.top_images)
        pictures = write_thumbnails(wanted, folder, options.thumbnail_size, context) if folder else {}
        rows, method = Rows(run.spaces), method_of(run)
        summary = summarise(run, method.correlations)
        ratings = [rating.name for rating in summary.ratings]  # of many the most telling ones
        heads = []
        for number, column in enumerate(columns_of(run, method, rows, ratings)):
            data.write(f"columns/{number}", column.values)
            heads.append(column.head)
        data.write("items", items_of(run, None if is_live else pictures, ratings))
        data.write("labels", cards_of(run, rows, method))
        notes = {} if is_live else notes_of(run, rows)
        if notes:
            data.write("notes", notes)
        has_activations = not is_live and _write_activations(run, rows, data, has_model=options.heatmaps > 0)
        mapped = []
        for row, maps in heatmaps_of(run, rows, 0 if is_live else options.heatmaps, context):
            data.write(f"heatmaps/{row}", maps)
            mapped.append(row)
        failures = [failure for failure in run.failures if failure.stage != "report"] + unreadable
        head = {
            "version": VERSION,
            "title": options.title or run.dir.resolve().name,
            **overview_of(run, summary, method, failures),
            "columns": heads,
            "infos": infos_of(run, method, heads),
            "top_images": options.top_images,
            "heatmaps": sorted(mapped),
            "has_neighbours": has_activations,
            "has_notes": bool(notes),
            "features_a_file": FEATURES_A_FILE if has_activations else None,
            "images_a_file": IMAGES_A_FILE if has_activations else None,
            "intercepts": list(run.rating_models.intercepts.items()),
            "weights": run.rating_models.column,
            "live": is_live,
        }
        data.write("run", head)
        return pictures


VIEWER = ("viewer.css", *(f"{name}.js" for name in SCRIPTS))


def _viewer_file(name: str) -> str:
    return files("saeviz_report.explorer").joinpath("viewer", name).read_text(encoding="utf-8")


def _write_activations(run: saeviz.Run, rows: Rows, data: ContentFolder | SinglePage, *, has_model: bool) -> bool:
    """Write what fires on what, and neighbours; False if a run has too many activations to store them."""
    matrix = activations_of(run, rows)
    if matrix is None:
        return False
    for blocks in (by_feature, by_image):
        for name, block in blocks(matrix):
            data.write(name, block)
    near = neighbours_of(run, rows, matrix)
    for row, alike in directions_of(run, rows).items() if has_model else ():
        near[row]["directions"] = alike
    data.write("neighbours", near)
    return True


def _shown(run: saeviz.Run, n_top: int) -> list[saeviz.ImageItem]:
    """The images that have a small picture: all, or of very many the top images of selected features."""
    if len(run.items) <= MOST_THUMBNAILS:
        return list(run.items)
    wanted = {item_id for chosen in run.selected for item_id, _ in run.top_item_ids(chosen.feature, n_top)}
    return [item for item in run.items if item.item_id in wanted]
