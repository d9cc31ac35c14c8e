"""The images of a run and their sources."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from io import BufferedReader, BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from saeviz.values.checks import kind_of
from saeviz.values.decoding import bytes_of, drawn, open_picture
from saeviz.values.errors import ImageError, MalformedError
from saeviz.values.features import check_id
from saeviz.values.regular import open_regular

if TYPE_CHECKING:
    from PIL.Image import Image


@runtime_checkable
class HasBytes(Protocol):
    """Optional for a function that is the source of an image: access to the file that it decodes.

    Runs can then share results for the picture. Raises `ImageError` if the file cannot be read.
    """

    def read_bytes(self) -> bytes:
        """The bytes of the whole file."""
        ...


ImageSource = Path | bytes | Callable[[], "Image"]
"""A file, its bytes, or a function that returns the decoded picture, which may implement `HasBytes`."""


@dataclass(frozen=True, slots=True)
class ImageItem:
    """One image, not yet decoded, with its ratings and metadata.

    `item_id` is any non-empty string and never a path. `source` is a file, its bytes, or a function that returns the
    decoded picture (see `HasBytes`). `ratings` has finite numbers only; a missing rating is a missing key.
    `individual[rating][rater]` is the rating by one rater, if known; the rating is their mean. `version` is for sources
    that are functions: any text that changes when the picture changes, so that a run extracts it again. `group` is what
    the image shares with others, such as an artist, a series or a film, None for an image by itself: images of one
    group are not independent of one another.
    """

    item_id: str
    source: ImageSource = field(repr=False)
    ratings: Mapping[str, float] = field(default_factory=dict, hash=False)
    metadata: Mapping[str, str] = field(default_factory=dict, repr=False, hash=False)
    version: str = field(default="", repr=False)
    individual: Mapping[str, Mapping[str, float]] = field(default_factory=dict, repr=False, hash=False)
    group: str | None = None

    def __post_init__(self) -> None:
        check_id(self.item_id)
        where = f"item {self.item_id!r}"
        if not (isinstance(self.source, Path | bytes) or callable(self.source)):
            raise MalformedError(
                f"{where}: its source is {kind_of(self.source)}, not a Path, the bytes of a file, or a function "
                "that returns the picture"
            )
        for name, given in (("ratings", self.ratings), ("metadata", self.metadata), ("individual", self.individual)):
            if not isinstance(given, Mapping):
                raise MalformedError(f"{where}: its {name} are {kind_of(given)}, not a mapping")
        if not isinstance(self.version, str):
            raise MalformedError(f"{where}: its version is {kind_of(self.version)}, not text")
        for ratings in (self.ratings, *self.individual.values()):
            _check_ratings(ratings, where)
        for name, value in self.metadata.items():
            if not isinstance(name, str) or not isinstance(value, str):
                raise MalformedError(f"{where}: the metadata {name!r} is {kind_of(value)}; name and value must be text")
        for name in ("ratings", "individual"):
            object.__setattr__(self, name, _in_floats(getattr(self, name)))
        if self.group is not None and not (isinstance(self.group, str) and self.group):
            raise MalformedError(f"{where}: the group {self.group!r} must be text, or None where it has none")

    def open(self) -> Image:
        """The decoded picture, upright (EXIF orientation applied), in its own mode.

        Of an animation, the first frame. Raises `ImageError` if it cannot be read or its function fails.
        """
        try:
            return drawn(self.source) if callable(self.source) else open_picture(self.source)
        except ImageError as error:
            if repr(self.item_id) in str(error):
                raise
            place = f" ({self.source})" if isinstance(self.source, Path) else ""
            raise ImageError(f"image {self.item_id!r}{place} cannot be read: {error}") from error

    def open_file(self) -> BufferedReader | BytesIO | None:
        """The file of the picture, open for reading; None where a function draws it, which has no file.

        What `HasBytes` is read for this. Raises `OSError` or `ImageError` where there is no regular file to read.
        """
        if isinstance(self.source, Path):
            return open_regular(self.source)
        if isinstance(self.source, bytes):
            return BytesIO(self.source)
        return BytesIO(bytes_of(self.source.read_bytes)) if isinstance(self.source, HasBytes) else None

    def read_bytes(self, most: int | None = None) -> bytes | None:
        """The whole file of the picture, None where a function draws it.

        Raises `ImageError` where it cannot be read or has more than `most` bytes.
        """
        try:
            file = self.open_file()
            if file is None:
                return None
            with file:
                data = file.read() if most is None else file.read(most + 1)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise ImageError(f"image {self.item_id!r} cannot be read: {reason}") from error
        if most is not None and len(data) > most:
            raise ImageError(f"image {self.item_id!r} cannot be read: it has more than {most >> 20} MiB")
        return data

    @property
    def fingerprint(self) -> str:
        """Text that changes when the picture changes: size and time of a file, digest of bytes, else `version`."""
        if isinstance(self.source, bytes):
            from hashlib import sha256

            return sha256(self.source).hexdigest()[:16]
        if isinstance(self.source, Path):
            try:
                stat = self.source.stat()
            except OSError:
                return "missing"
            return f"{stat.st_size}-{stat.st_mtime_ns}"
        return self.version


def _check_ratings(ratings: Mapping[str, float], where: str) -> None:
    if not isinstance(ratings, Mapping):
        raise MalformedError(f"{where}: the individual ratings are {kind_of(ratings)}, not a mapping of raters")
    for name, value in ratings.items():
        if not (isinstance(name, str) and name):
            raise MalformedError(f"{where}: a rating is called {name!r}, which must be text that is not empty")
        try:
            is_finite = math.isfinite(value)
        except (TypeError, ValueError, OverflowError):
            raise MalformedError(f"{where}: rating {name!r} is {kind_of(value)}, not a finite number") from None
        if not is_finite:
            raise MalformedError(f"{where}: rating {name!r} is not a finite number; leave it out")


def _in_floats(ratings: Mapping[str, Any]) -> Mapping[str, Any]:
    """Ratings in numbers of Python: those of NumPy and of databases cannot be written."""
    if all(type(value) in (float, int, bool) for value in ratings.values()):
        return ratings
    return {name: _in_floats(value) if isinstance(value, Mapping) else float(value) for name, value in ratings.items()}


Box = tuple[float, float, float, float]
"""(left, top, right, bottom) in pixels of the upright picture; outside the picture if a model pads it."""
