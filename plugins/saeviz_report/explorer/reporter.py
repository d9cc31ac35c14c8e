"""From a run to `explorer/index.html`, the viewer beside it, and the data it shows; or to one file with all of it."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import saeviz
from saeviz.toolkit.files import OneWriter, write_atomic
from saeviz_report import ExplorerOptions
from saeviz_report.explorer.activations import FEATURES_A_FILE, IMAGES_A_FILE, activations_of, by_feature, by_image
from saeviz_report.explorer.columns import Rows, columns_of, label_cards
from saeviz_report.explorer.files import ContentFolder, SinglePage
from saeviz_report.explorer.heatmaps import heatmaps_of
from saeviz_report.explorer.items import items_of
from saeviz_report.explorer.neighbours import neighbours_of
from saeviz_report.method import Method, method_of
from saeviz_report.summary import Summary, summarise
from saeviz_report.thumbnails import Thumbnail, folder_of, remove_other_thumbnails, write_thumbnails

VERSION = 1
"""Of the layout of the data files: a viewer of a later version reads those of an earlier one."""
SCRIPTS = (
    "core", "live", "table", "chart", "export", "scatter", "filters", "views", "heatmap", "enlarge", "relations",
    "card", "pages", "main",
)  # fmt: skip
"""Of the viewer, in the order in which they are loaded."""
MOST_THUMBNAILS = 5_000


class ExplorerReport:
    """Writes the explorer of a run."""

    def __init__(self, options: ExplorerOptions, context: saeviz.Context) -> None:
        self.options = options
        self.context = context

    def write(self, run: saeviz.Run) -> Path:
        """Write viewer and data, and return the path of the page, which is written last.

        An image that can no longer be read is reported and has no picture. Raises `RunDirError` if a file cannot be
        written.
        """
        folder, kept = folder_of(run, "explorer"), folder_of(run, "explorer/pictures")
        writer = OneWriter(folder)
        writer.claim()
        try:
            pictures = write_thumbnails(_shown(run), kept, self.options.thumbnail_size, self.context)
            write = self._write_one if self.options.single_file else self._write
            page = write(run, folder, pictures)
            remove_other_thumbnails(kept, pictures.values())
        finally:
            writer.release()
        return page

    def write_viewer(self, run: saeviz.Run, folder: Path) -> Path:
        """Write viewer and data, without activations, pictures and heatmaps: the page asks its host for them."""
        return self._write(run, folder, None)

    def _write(self, run: saeviz.Run, folder: Path, pictures: Mapping[str, Thumbnail] | None) -> Path:
        content = ContentFolder(folder)
        for name in VIEWER:
            content.add(f"viewer/{name}", _viewer_file(name))
        self._write_data(run, pictures, content)
        written = content.finish()
        page = folder / "index.html"
        html = re.sub(r'(?<=href="|.src=")(?=\w+\.(css|js)")', f"{written.name}/viewer/", _viewer_file(page.name))
        if pictures is None:
            html = html.replace("script-src ", "connect-src 'self'; script-src ", 1)
        write_atomic(page, html)
        content.remove_others(written)
        return page

    def _write_one(self, run: saeviz.Run, folder: Path, pictures: Mapping[str, Thumbnail]) -> Path:
        data = SinglePage()
        self._write_data(run, pictures, data)
        files = {picture.file: folder / "pictures" / picture.file for picture in pictures.values()}
        inside = {
            name: f"data:image/webp;base64,{b64encode(path.read_bytes()).decode()}" for name, path in files.items()
        }
        data.write("pictures", inside)
        style, *scripts = map(_viewer_file, VIEWER)
        page = run.dir / "explorer.html"
        write_atomic(page, data.page(_viewer_file("index.html"), style, "".join(scripts)))
        return page

    def _write_data(
        self, run: saeviz.Run, pictures: Mapping[str, Thumbnail] | None, data: ContentFolder | SinglePage
    ) -> None:
        """Write everything; where `pictures` are None only what a served page does not ask its host for."""
        is_live = pictures is None
        rows, method = Rows(run.spaces), method_of(run)
        summary = summarise(run, method.correlations)
        ratings = [rating.name for rating in summary.ratings]  # of many the most telling ones
        heads = []
        for number, column in enumerate(columns_of(run, rows, method.correlations, ratings)):
            data.write(f"columns/{number}", column.values)
            heads.append(column.head)
        data.write("items", items_of(run, pictures, ratings))
        data.write("labels", label_cards(run, rows))
        matrix = None if is_live else activations_of(run, rows)
        for blocks in (by_feature, by_image) if matrix is not None else ():
            for name, block in blocks(matrix):
                data.write(name, block)
        if matrix is not None:
            data.write("neighbours", neighbours_of(run, rows, matrix))
        mapped = []
        for row, maps in heatmaps_of(run, rows, 0 if is_live else self.options.heatmaps, self.context):
            data.write(f"heatmaps/{row}", maps)
            mapped.append(row)
        title = self.options.title or run.dir.resolve().name
        overview = _overview(summary, method, title, heads, has_activations=matrix is not None)
        data.write(
            "run", {**overview, "heatmaps": sorted(mapped), "has_neighbours": matrix is not None, "live": is_live}
        )


VIEWER = ("viewer.css", *(f"{name}.js" for name in SCRIPTS))


def _viewer_file(name: str) -> str:
    return files("saeviz_report.explorer").joinpath("viewer", name).read_text(encoding="utf-8")


def _shown(run: saeviz.Run) -> list[saeviz.ImageItem]:
    """The images that have a small picture: all, or of very many the top images of selected features."""
    if len(run.items) <= MOST_THUMBNAILS:
        return list(run.items)
    wanted = {item_id for chosen in run.selected for item_id, _ in run.top_item_ids(chosen.feature)}
    return [item for item in run.items if item.item_id in wanted]


def _overview(
    summary: Summary,
    method: Method,
    title: str,
    heads: list[dict[str, Any]],
    *,
    has_activations: bool,
) -> dict[str, Any]:
    """What the viewer reads first."""
    return {
        "version": VERSION,
        "title": title,
        "n_images": summary.n_images,
        "spaces": [
            {"name": space.name, "n": space.n_features, "live": space.n_live, "selected": space.n_selected}
            for space in summary.spaces
        ],
        "ratings": [
            {
                "name": rating.name,
                "n": rating.n_images,
                "mean": rating.mean,
                "sd": rating.sd,
                "tested": rating.tested,
                "positive": rating.positive,
                "negative": rating.negative,
                "strongest": rating.strongest,
                "replicated": rating.replicated,
                "detectable": rating.detectable,
            }
            for rating in summary.ratings
        ],
        "tiers": {str(tier): n for tier, n in summary.tiers.items()},
        "verdicts": dict(summary.verdicts),
        "notes": list(summary.notes),
        "monosemanticity": list(summary.monosemanticity),
        "measures": dict(method.measures),
        "meaning": method.meaning,
        "adjustment": method.adjustment,
        "columns": heads,
        "features_a_file": FEATURES_A_FILE if has_activations else None,
        "images_a_file": IMAGES_A_FILE if has_activations else None,
        "config": summary.config,
        "versions": dict(summary.versions),
    }
