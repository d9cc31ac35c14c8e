"""Works to cite for what a component does."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from fnmatch import fnmatchcase
from typing import Any

from saeviz.values.errors import MalformedError

LONGEST = 400
"""Characters of a field."""


@dataclass(frozen=True)
class Citation:
    """A work that is to be cited by those who use a component.

    `what` is a phrase that says what for, `authors` are surnames with the year, such as `Roe & Doe (2026)`, and `where`
    is a journal with volume and pages, `arXiv:...`, `doi:...` or several of these. With `when`, it is to be cited only
    by runs that have an option of the component, one of its facts or one of its columns: `r_corrected`, or with a
    value, of which capitals do not matter and `*` is any text, `correction=bh`. Raises `DataError` for anything else.
    """

    what: str
    authors: str
    title: str
    where: str
    when: str = ""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            is_given = value or field.name == "when"
            if not (isinstance(value, str) and is_given and len(value) <= LONGEST and value.isprintable()):
                raise MalformedError(
                    f"a citation whose {field.name} is {value!r}, not one line of text of at most {LONGEST} characters"
                )
        if not re.fullmatch(r".*\w.* \([0-9]{4}[a-z]?\)", self.authors):
            raise MalformedError(f"a citation whose authors are {self.authors!r}; write for example 'Roe & Doe (2026)'")

    def applies(self, known: Mapping[str, Any]) -> bool:
        """Whether it is to be cited by a run with these options, facts and columns."""
        name, _, value = self.when.partition("=")
        if not value:
            return not name or bool(known.get(name))
        return fnmatchcase(str(known.get(name, "")).lower(), value.lower())


def written(citations: tuple[Citation, ...]) -> list[dict[str, str]]:
    """As a manifest has them."""
    return [asdict(one) for one in citations]
