"""Track a labeler's usage in a run directory, and enforce its budget."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from saeviz.formats.files import read_lines, write_atomic
from saeviz.toolkit.vlm.service import Reply
from saeviz.values.errors import PausedError, RunDirError
from saeviz.values.naming import Usage

if TYPE_CHECKING:
    from collections.abc import Callable


class Meter:
    """Counts calls, images and tokens, for all threads together, and refuses calls beyond the budget.

    The count is stored in `path` and continues that of earlier runs; with None it is not stored. `option` maps the
    short name of an option to its full name, for messages.
    """

    def __init__(
        self, path: Path | None, max_calls: int | None, max_tokens: int | None, option: Callable[[str], str] = str
    ) -> None:
        self._option = option
        self._path, self._max_calls, self._max_tokens = path, max_calls, max_tokens
        self._lock = Lock()
        self._under_way = Usage()
        self.usage = _read(path) if path else Usage()

    @contextmanager
    def call(self, expected: Usage) -> Iterator[Callable[[Reply], None]]:
        """Reserve budget for a call; yields a function that takes the reply. A call without a reply costs nothing.

        Raises `PausedError` if the expected usage exceeds what is left of the budget.
        """
        with self._lock:
            self._refuse_too_much(_sum(_sum(self.usage, self._under_way), expected))
            self._under_way = _sum(self._under_way, expected)
        replies: list[Reply] = []
        try:
            yield replies.append
        finally:
            with self._lock:
                self._under_way = _sum(self._under_way, expected, sign=-1)
                for reply in replies:
                    self._count(expected.images, reply)

    def _refuse_too_much(self, total: Usage) -> None:
        if self._max_calls is not None and total.calls > self._max_calls:
            raise PausedError(
                f"the budget {self._option('max_calls')} = {self._max_calls} is used up; raise it and run again to "
                "continue"
            )
        if self._max_tokens is not None and total.input_tokens + total.output_tokens > self._max_tokens:
            spent = self.usage.input_tokens + self.usage.output_tokens
            raise PausedError(
                f"the budget {self._option('max_tokens')} = {self._max_tokens} leaves no room for another answer "
                f"({spent} used); raise it and run again to continue"
            )

    def _count(self, n_images: int, reply: Reply) -> None:
        self.usage = _sum(self.usage, Usage(1, n_images, reply.input_tokens, reply.output_tokens))
        if self._path:
            write_atomic(self._path, json.dumps(self.usage._asdict()) + "\n")


def _sum(one: Usage, other: Usage, sign: int = 1) -> Usage:
    return Usage(*(a + sign * b for a, b in zip(one, other, strict=True)))


def _read(path: Path) -> Usage:
    text = "".join(read_lines(path))
    try:
        return Usage(**{name: int(value) for name, value in json.loads(text).items()}) if text else Usage()
    except (ValueError, TypeError, AttributeError) as error:
        raise RunDirError(f"{path}, the record of usage, is damaged; remove it to start from 0") from error
