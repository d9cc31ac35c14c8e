"""Works to cite for what a component does."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, fields

from saeviz.values.errors import MalformedError

LONGEST = 400
"""Characters of a field."""


@dataclass(frozen=True)
class Citation:
    """A work that is to be cited by those who use a component.

    `what` is a phrase that says what for, `authors` are surnames with the year, such as `Roe & Doe (2026)`, and `where`
    is a journal with volume and pages, `arXiv:...`, `doi:...` or several of these. Raises `DataError` for anything
    else.
    """

    what: str
    authors: str
    title: str
    where: str

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not (isinstance(value, str) and 0 < len(value) <= LONGEST and value.isprintable()):
                raise MalformedError(
                    f"a citation whose {field.name} is {value!r}, not one line of text of at most {LONGEST} characters"
                )
        if not re.fullmatch(r".*\w.* \([0-9]{4}[a-z]?\)", self.authors):
            raise MalformedError(f"a citation whose authors are {self.authors!r}; write for example 'Roe & Doe (2026)'")


def written(citations: tuple[Citation, ...]) -> list[dict[str, str]]:
    """As a manifest has them."""
    return [asdict(one) for one in citations]
