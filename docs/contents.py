"""Columns in `tables.md` and files in `formats.md`, from the code: `make docs` writes them, a test compares them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from saeviz.formats.contents import FILES, OF_FEATURES, TABLES
from saeviz.values.columns import ColumnInfo

REFERENCE = Path(__file__).parent / "reference"
BEGIN, END = "<!-- made by `make docs` from saeviz/formats/contents.py -->\n", "<!-- end of what is made -->"


def tables() -> Iterator[str]:
    """The columns that name a feature, then a part for each table."""
    yield "\n## Which feature\n"
    yield from described("column", OF_FEATURES)
    for table in TABLES:
        start = len(OF_FEATURES) if table.columns[: len(OF_FEATURES)] == OF_FEATURES else 0
        yield f"\n## {table.file.partition('/')[0]}\n"
        yield f"A row for {table.row}; in Python `run.{table.attribute}`."
        yield "The columns that name a feature, then:\n" if start else ""
        yield from described("column", table.columns[start:])
        if table.more:
            yield f"\nThen {table.more}."
    yield ""


def files() -> Iterator[str]:
    """The table of files."""
    yield "\n| file | what is in it | version |\n|---|---|---|"
    for file in FILES:
        yield f"| `{file.name}` | {file.what} | {file.version} |"
    yield ""


def described(head: str, infos: Iterable[ColumnInfo]) -> Iterator[str]:
    """A table with a line for each column."""
    yield f"| {head} | | unit | better |\n|---|---|---|---|"
    for info in infos:
        yield f"| `{info.name}` | {cell(info.description)} | {cell(info.unit)} | {info.better or ''} |"


def cell(text: str) -> str:
    """A sentence as a cell of a table."""
    return " ".join(text.split()).replace("|", "\\|")


def pages() -> dict[Path, str]:
    """The pages as they should be now."""
    made = {REFERENCE / "tables.md": tables(), REFERENCE / "formats.md": files()}
    return {path: _with(path, "\n".join(lines)) for path, lines in made.items()}


def _with(path: Path, text: str) -> str:
    before, begin, rest = path.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise SystemExit(f"{path.name}: the tables belong between {BEGIN.strip()} and {END}; put both lines back")
    return before + begin + text + "\n" + end + after


if __name__ == "__main__":
    for page, text in pages().items():
        page.write_text(text, encoding="utf-8")
