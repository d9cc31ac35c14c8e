"""From a place in an image to the features that fire there."""

from __future__ import annotations

from typing import Any

import numpy as np
from starlette.requests import Request
from starlette.responses import Response

from saeviz.contract.combined import field_of_view
from saeviz.contract.roles import HeatmapExtractor, SingleImageExtractor
from saeviz.formats.plain import one_line
from saeviz.pipeline.blame import blaming
from saeviz.serving.live.answers import NAMED, Json, named, strongest
from saeviz.serving.live.asked import ITEM, item_of
from saeviz.serving.live.endpoint import NUMBER, TEXT, WHOLE, Endpoint, Share, fields, listed
from saeviz.serving.live.opened import Live
from saeviz.values.errors import DataError
from saeviz.values.features import FeatureSpace
from saeviz.values.images import ImageItem

STRONGEST = 12
X = Share("x", "how far from the left of the picture, as a share of its width")
Y = Share("y", "how far from its top, as a share of its height")
PATCH = fields(
    item=TEXT,
    spaces=listed(
        fields(
            "`patch` is its left, top, right and bottom in shares of the picture; empty where the model does not look.",
            space=TEXT,
            patch=listed(NUMBER),
            n_active=WHOLE,
            features=listed(fields(**NAMED, value=NUMBER)),
            missing=TEXT,
        )
    ),
)


def features_at(live: Live, item: ImageItem, x: float, y: float) -> dict[str, Any]:
    """What fires on the patch at (x, y) in shares of the picture, by the SAE of each space; see `PATCH`.

    Several spaces of one SAE have the same features; one of patches stands for that of the class token, too.
    """
    by_site: dict[int | str, FeatureSpace] = {}
    for space in sorted(live.run.spaces, key=lambda space: not space.tokens.startswith("patch")):
        by_site.setdefault(space.site, space)
    return {"item": item.item_id, "spaces": [_in_space(live, item, space, x, y) for space in by_site.values()]}


def _in_space(live: Live, item: ImageItem, space: FeatureSpace, x: float, y: float) -> dict[str, Any]:
    empty: dict[str, Any] = {"space": str(space), "patch": [], "n_active": 0, "features": [], "missing": ""}
    try:
        who, extractor = live.extractor_of(space)
        if not isinstance(extractor, SingleImageExtractor) or not isinstance(extractor, HeatmapExtractor):
            return {**empty, "missing": f"{who} cannot look at single patches"}
        with blaming(who, log=None):
            spatial = extractor.extract_spatial(item, layer=space.site)
            left, top, right, bottom = field_of_view(extractor, item, space.feature(0))
    except DataError as error:
        return {**empty, "missing": one_line(str(error))}
    width, height = item.open().size
    (rows, columns), (wide, high) = spatial.grid, ((right - left) / width, (bottom - top) / height)
    across, down = (x - left / width) / wide, (y - top / height) / high
    if not (0 <= across <= 1 and 0 <= down <= 1):
        return {**empty, "missing": "the model does not see this part of the picture"}
    column, row = min(int(across * columns), columns - 1), min(int(down * rows), rows - 1)
    values = np.asarray(spatial.features[row * columns + column], np.float64)
    best = [index for index in strongest(values, STRONGEST).tolist() if values[index] > 0]
    edges = [left / width + wide * column / columns, top / height + high * row / rows]
    return {
        **empty,
        "patch": [*edges, edges[0] + wide / columns, edges[1] + high / rows],
        "n_active": int((values > 0).sum()),
        "features": [named(live.run, space.feature(index), value=float(values[index])) for index in best],
    }


def routes(live: Live) -> list[Endpoint]:
    """`/api/patch?item=ID&x=0.5&y=0.5`."""

    async def patch(request: Request) -> Response:
        item, x, y = item_of(live, request), X.number(request), Y.number(request)
        return Json(await live.with_model(features_at, live, item, x, y))

    summary = "Which features fire at a place in an image."
    return [Endpoint("/api/patch", patch, summary, query=[ITEM, X, Y], answer=PATCH)]
