"""Where a feature fires on an image, by the model of the run."""

from __future__ import annotations

import json
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from saeviz.contract.combined import field_of_view
from saeviz.contract.roles import HeatmapExtractor
from saeviz.formats.packed import packed_map
from saeviz.pipeline.blame import blaming
from saeviz.results.heatmaps import heatmaps_by
from saeviz.serving.limits import Recent
from saeviz.serving.live.asked import FEATURE, ITEM, feature_of, item_of
from saeviz.serving.live.endpoint import NUMBER, PACKED, TEXT, WHOLE, Endpoint, Whole, fields, listed
from saeviz.serving.live.opened import Live
from saeviz.values.errors import DataError
from saeviz.values.features import Feature
from saeviz.values.images import ImageItem

BYTES_OF_MAPS = 16 * 2**20
"""Of heatmaps in memory."""


def heatmap_of(live: Live, feature: Feature, item: ImageItem, *, fine: bool) -> dict[str, Any]:
    """The map of a feature on an image, as the data files of a report have it; the model is loaded when first used."""
    who, _ = live.extractor_of(live.spaces[feature.space_name])
    extractor, words = live.session.components.extractor, live.session.config.extractors_in_words
    with blaming(who, log=None):
        values = heatmaps_by(extractor, words, [feature], item, fine=fine)[feature]
        if not isinstance(extractor, HeatmapExtractor):
            raise DataError(f"{words} cannot say which part of a picture heatmaps cover")
        box = field_of_view(extractor, item, feature)
    return {"feature": str(feature), "item": item.item_id, **packed_map(values, box, item.open().size)}


FINE = Whole("fine", "1 for a map of more cells than the image has patches", otherwise=0, least=0, most=1)
MAP_FIELDS = {"columns": WHOLE, "values": PACKED, "largest": NUMBER, "box": listed(NUMBER)}
"""Of a heatmap: in rows of `columns`, values from 0 to 255, of which 255 is `largest`, and where it is in the picture,
in shares of its width and height.
"""


def routes(live: Live) -> list[Endpoint]:
    """`/api/heatmap?feature=layer11.cls/4711&item=ID&fine=0`."""
    kept = Recent(BYTES_OF_MAPS)

    async def heatmap(request: Request) -> Response:
        feature, item = feature_of(live, request), item_of(live, request)
        fine = FINE.number(request) == 1

        async def made() -> bytes:
            return await live.with_model(_as_json, live, feature, item, fine)

        return Response(await kept.get((str(feature), item.item_id, fine), made), media_type="application/json")

    summary, answer = "Where a feature fires on an image.", fields(feature=TEXT, item=TEXT, **MAP_FIELDS)
    return [Endpoint("/api/heatmap", heatmap, summary, query=[FEATURE, ITEM, FINE], answer=answer)]


def _as_json(live: Live, feature: Feature, item: ImageItem, fine: bool) -> bytes:
    return json.dumps(heatmap_of(live, feature, item, fine=fine)).encode()
