"""Fetch images from the web under limits: each URL once, private addresses only if allowed.

See `docs/explanation/security.md` for the risks and how they are handled.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from saeviz.contract.options import NEUTRAL, Options


class FetchOptions(Options):
    """Options for fetching images by URL; a component's options class may derive from it."""

    allow_private: Annotated[bool, NEUTRAL] = Field(
        default=False,
        description="also fetch from private, loopback and link-local addresses, such as 192.168.0.7",
    )
    max_megabytes: Annotated[float, NEUTRAL] = Field(
        default=50, gt=0, le=10_000, description="largest image to fetch, in MB"
    )
    max_redirects: Annotated[int, NEUTRAL] = Field(
        default=5, ge=0, le=100, description="maximum number of redirects for one image"
    )
    timeout: Annotated[float, NEUTRAL] = Field(
        default=60,
        gt=0,
        le=86_400,
        description="seconds that one attempt to fetch an image may take, including redirects",
    )


__all__ = ["FetchOptions"]
