"""Images: their pictures, made small when asked for, and what fires on one."""

from __future__ import annotations

from functools import partial
from io import BytesIO
from typing import Any

import numpy as np
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from saeviz.formats.packed import packed
from saeviz.pictures.rgb import to_rgb
from saeviz.serving.limits import Recent, Threads
from saeviz.serving.live.answers import Json
from saeviz.serving.live.asked import ITEM, item_of
from saeviz.serving.live.endpoint import NUMBER, PACKED, TEXT, WHOLE, Endpoint, Whole, fields, listed
from saeviz.serving.live.opened import Live
from saeviz.values.errors import ImageError
from saeviz.values.images import ImageItem

SIZE = Whole("size", "the most pixels that it is high", otherwise=208, least=16, most=1600)
BYTES_OF_PICTURES = 64 * 2**20
"""Of small pictures in memory."""
PICTURES_AT_ONCE = 2
NEAREST = 12
"""Similar images that an answer names."""


def about_image(live: Live, item: ImageItem) -> dict[str, Any]:
    """The features that fire on an image, most active first, as rows of the table of features, and similar images."""
    rows: list[Any] = [np.zeros(0, np.uint32)]
    values: list[Any] = [np.zeros(0, np.float32)]
    for name in live.spaces:
        features, strengths = live.by_feature.features_of(name, live.places[item.item_id])
        rows.append(features + np.uint32(live.rows[name]))
        values.append(strengths)
    joined, strengths = np.concatenate(rows), np.concatenate(values)
    order = np.lexsort((joined, -strengths))
    return {
        "item": item.item_id,
        "features": packed(joined[order]),
        "values": packed(strengths[order]),
        "nearest": nearest(live, item),
    }


def nearest(live: Live, item: ImageItem) -> list[dict[str, Any]]:
    """The images most like this one by the cosine of their embeddings, most alike first; none without embeddings."""
    place, directions = live.places[item.item_id], live.directions
    if directions is None or not directions[place].any():
        return []
    alike = directions @ directions[place]
    alike[place] = -np.inf
    found = np.argsort(-alike, kind="stable")[:NEAREST]
    near = [other for other in found.tolist() if other != place and directions[other].any()]
    return [{"item": live.run.items[one].item_id, "place": one, "cosine": float(alike[one])} for one in near]


def small_picture(item: ImageItem, size: int) -> bytes:
    """A JPEG file of the picture, at most `size` high and twice as wide. Raises `ImageError` if it cannot be read."""
    try:
        picture = to_rgb(item.open())
        picture.thumbnail((2 * size, size))
        buffer = BytesIO()
        picture.save(buffer, "JPEG", quality=85)  # twenty times as fast as WebP
    except (OSError, ValueError) as error:
        raise ImageError(f"image {item.item_id!r} cannot be made small: {error}") from error
    return buffer.getvalue()


ANSWER = fields(
    "The features that fire on it, most active first: rows of a table of all features, space after space; the images "
    "most like it by the embeddings of the run, and their places among its images.",
    item=TEXT,
    features=PACKED,
    values=PACKED,
    nearest=listed(fields(item=TEXT, place=WHOLE, cosine=NUMBER)),
)


def routes(live: Live) -> list[Endpoint]:
    """`/api/image?item=ID` and `/api/picture?item=ID&size=208`."""
    pictures, kept = Threads(PICTURES_AT_ONCE), Recent(BYTES_OF_PICTURES)

    async def image(request: Request) -> Response:
        return Json(await run_in_threadpool(about_image, live, item_of(live, request)))

    async def picture(request: Request) -> Response:
        item, size = item_of(live, request), SIZE.number(request)
        data = await kept.get((item.item_id, size), partial(pictures, small_picture, item, size))
        return Response(data, media_type="image/jpeg")

    return [
        Endpoint(
            "/api/image",
            image,
            "Which features fire on an image; similar images.",
            query=[ITEM],
            answer=ANSWER,
        ),
        Endpoint("/api/picture", picture, "The picture, made small.", query=[ITEM, SIZE], answer="image/jpeg"),
    ]
