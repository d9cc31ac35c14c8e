"""Read the body of a request, within bounds of length, memory and time."""

from __future__ import annotations

import asyncio

from starlette.exceptions import HTTPException
from starlette.requests import Request

from saeviz.serving.limits import LONGEST_WAIT, Room


async def whole_body(request: Request, room: Room, most: int) -> bytearray:
    """The whole body, for which there is room until the answer is sent; status 413, unread, if it is too long.

    Its memory is taken at once: many bodies that grow side by side leave holes between them.
    """
    length = request.headers.get("content-length", "")
    size = int(length) if length.isdecimal() else most
    if size > most:
        raise _too_long(most)
    await room.take(request, size)
    body, end, parts = bytearray(size), 0, request.stream()
    while part := await asyncio.wait_for(anext(parts, b""), LONGEST_WAIT):
        body[end : end + len(part)] = part
        end += len(part)
        if end > most:
            raise _too_long(most)
    del body[end:]
    return body


def _too_long(most: int) -> HTTPException:
    size = f"{most >> 20} MiB" if most >= 2**20 else f"{most:,} bytes"
    return HTTPException(413, f"what was sent is too large: at most {size} are accepted")
