"""LaTeX and BibTeX, in which text from data stays text."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable, Sequence
from itertools import chain, count
from typing import Any

import saeviz
from saeviz_report.text import visible

_SPECIAL = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "%": r"\%", "#": r"\#", "_": r"\_",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': r"\char34{}", "`": r"\textasciigrave{}", "[": "{[}", "]": "{]}", "*": "{*}",
    "\N{EN DASH}": r"\textendash{}", "\N{MINUS SIGN}": "$-$",
}  # fmt: skip
_ESCAPES = str.maketrans(_SPECIAL)
"""Brackets and stars would be an option of the line end before them; `"` is a command in some languages of babel, and
has no name in the default font encoding."""


def escaped(text: str) -> str:
    """The text on one line, typeset as it is: no character of it is a command."""
    line = " ".join(str(visible(text)).split()).translate(_ESCAPES)
    return re.sub(r"([-'`,?!])(?=[-'`,?!])", r"\1{}", line)  # two of them may become another character


def escaped_part(text: str) -> str:
    """As `escaped`, with a space at either end where there was one."""
    return " " * text.startswith(" ") + escaped(text) + " " * text.endswith(" ")


def cell(value: Any) -> str:
    """A cell of a table: text as it is, numbers with two or three digits, an empty cell where there is no value."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float):
        return f"${value:.3g}$" if abs(value) >= 1e-3 or not value else f"${_power(value)}$"
    return escaped(str(value))


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]], caption: str) -> str:
    """A table that may be longer than a page; it needs the packages `longtable` and `booktabs`."""
    heads = " & ".join(map(escaped, columns)) + r" \\"
    lines = [
        r"\begin{longtable}{" + "l" * len(columns) + "}",
        rf"\caption{{{escaped(caption)}}}\\",
        r"\toprule",
        heads,
        r"\midrule",
        r"\endhead",
        *(" & ".join(map(cell, row)) + r" \\" for row in rows),
        r"\bottomrule",
        r"\end{longtable}",
    ]
    return "\n".join(lines) + "\n"


def keys(citations: Sequence[saeviz.Citation]) -> dict[saeviz.Citation, str]:
    """A key for each: surname and year, with a letter where two are alike."""
    found: dict[saeviz.Citation, str] = {}
    for citation in citations:
        authors, year = _authors_and_year(citation)
        name = unicodedata.normalize("NFKD", authors[0]).encode("ascii", "ignore").decode().lower()
        key = re.sub(r"[^a-z]", "", name) + year
        endings = chain(["", *"bcdefgh"], map("-{}".format, count(9)))
        found[citation] = next(one for ending in endings if (one := key + ending) not in found.values())
    return found


def bibtex(citations: Sequence[saeviz.Citation]) -> str:
    """An entry for each; authors are surnames, as saeviz has no more of them."""
    return "\n".join(_entry(key, citation) for citation, key in keys(citations).items())


def _entry(key: str, citation: saeviz.Citation) -> str:
    authors, year = _authors_and_year(citation)
    doi = re.search(r"doi:(\S+)", citation.where)
    arxiv = re.search(r"arXiv:(\S+)", citation.where)
    where = re.sub(r"\.? *(doi|arXiv):\S+", "", citation.where).strip()
    fields = {
        "author": " and ".join(map(escaped, authors)),
        "title": f"{{{escaped(citation.title)}}}",
        "year": year,
        "howpublished": escaped(where),
        "doi": escaped(doi[1]) if doi else "",
        "eprint": escaped(arxiv[1]) if arxiv else "",
        "archiveprefix": "arXiv" if arxiv else "",
        "note": escaped(citation.what),
    }
    lines = [f"  {name} = {{{value}}}," for name, value in fields.items() if value]
    return "\n".join([f"@misc{{{key},", *lines, "}", ""])


def _authors_and_year(citation: saeviz.Citation) -> tuple[list[str], str]:
    names, _, year = citation.authors.rpartition(" (")
    parts = re.split(r", | & ", names.replace(" et al.", ", others"))
    return [part.strip() for part in parts if part.strip()], year.rstrip(")")


def _power(value: float) -> str:
    digits, _, exponent = f"{value:.1e}".partition("e")
    return rf"{digits} \times 10^{{{int(exponent)}}}"
