"""Where selected features fire on their top images, small enough to be stored."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import saeviz
from saeviz.toolkit.packed import packed_map
from saeviz_report.explorer.columns import Rows


def heatmaps_of(run: saeviz.Run, rows: Rows, n_images: int, context: saeviz.Context) -> Iterator[tuple[int, Any]]:
    """For the row of each selected feature the maps of its first `n_images` top images that have one.

    A map is drawn over `box`: left, top, right and bottom as shares of the picture. An image that can no longer be
    read is reported, a feature without heatmaps left out.
    """
    wanted: dict[str, list[saeviz.Feature]] = {}
    for chosen in run.selected if n_images else ():
        for item_id, _ in run.top_item_ids(chosen.feature, n_images):
            wanted.setdefault(item_id, []).append(chosen.feature)
    items = {item.item_id: (place, item) for place, item in enumerate(run.items)}
    without: set[int | str] = set()
    found: dict[saeviz.Feature, list[dict[str, Any]]] = {}
    for item_id in context.progress(sorted(wanted.keys() & items.keys()), len(wanted), "heatmaps"):
        place, item = items[item_id]
        for site in dict.fromkeys(feature.site for feature in wanted[item_id] if feature.site not in without):
            own = [feature for feature in wanted[item_id] if feature.site == site]
            try:
                maps = run.heatmaps(own, item_id)
                box, size = run.field_of_view(item_id, own[0]), item.open().size
            except saeviz.NoHeatmapError:
                without.add(site)
            except saeviz.ImageError as error:
                context.failed(item_id, str(error))
            else:
                for feature, values in maps.items():
                    found.setdefault(feature, []).append({"item": place, **packed_map(values, box, size)})
    for feature, shown in found.items():
        if (row := rows.of(feature)) is not None:
            yield row, shown
