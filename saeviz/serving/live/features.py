"""A feature: on which images it fires, and how strongly."""

from __future__ import annotations

from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from saeviz.formats.packed import fewest_bytes, packed
from saeviz.serving.live.answers import Json
from saeviz.serving.live.asked import FEATURE, feature_of
from saeviz.serving.live.endpoint import NUMBER, PACKED, TEXT, Endpoint, fields, listed
from saeviz.serving.live.opened import Live
from saeviz.values.features import Feature

SHOWN = 24
"""Top images that an answer names."""


def images_of(live: Live, feature: Feature) -> dict[str, Any]:
    """The images on which a feature fires, most active first: places among the images of the run, and activations."""
    places, values = live.by_feature.images_of(feature.space_name, feature.index)
    items = live.run.items
    top = zip(places[:SHOWN].tolist(), values[:SHOWN].tolist(), strict=True)
    return {
        "feature": str(feature),
        "items": packed(places.astype(fewest_bytes(len(items)))),
        "values": packed(values),
        "top": [{"item": items[place].item_id, "activation": value} for place, value in top],
    }


IMAGES = fields(
    "The images on which it fires, most active first: `items` are places among the images of the run.",
    feature=TEXT,
    items=PACKED,
    values=PACKED,
    top=listed(fields(item=TEXT, activation=NUMBER)),
)


def routes(live: Live) -> list[Endpoint]:
    """`/api/feature?feature=layer11.cls/4711`."""

    async def feature(request: Request) -> Response:
        return Json(await run_in_threadpool(images_of, live, feature_of(live, request)))

    summary = "On which images a feature fires, and how strongly."
    return [Endpoint("/api/feature", feature, summary, query=[FEATURE], answer=IMAGES)]
