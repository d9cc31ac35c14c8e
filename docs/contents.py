"""Columns in `tables.md`, files in `formats.md`, hooks in `hooks.md`, from the code.

`make docs` writes them, a test compares them.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from saeviz.config.schema import LISTS, SINGLE
from saeviz.contract.specs import ROLES
from saeviz.formats.contents import FILES, OF_FEATURES, TABLES
from saeviz.pipeline.components import PROTOCOLS
from saeviz.values.columns import ColumnInfo

REFERENCE = Path(__file__).parent / "reference"
BEGIN, END = "<!-- made by `make docs` from the code -->\n", "<!-- end of what is made -->"


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


def hooks() -> Iterator[str]:
    """What each hook yields, and what a component of its role must have."""
    yield "\n| hook, and what it yields | in a run file | the component must have |\n|---|---|---|"
    for role, spec in ROLES.items():
        lists = [f"[[{name}]]" for name, (of, _) in LISTS.items() if of == role]
        tables = lists or [f"[{name}]" for name in SINGLE if name.removeprefix("second_") == role]
        members = [_member(name, value) for name, value in vars(PROTOCOLS[role]).items() if not name.startswith("_")]
        yield f"| `{spec.hook}`: `{spec.__name__}` | {listed(tables)} | {listed(members)} |"
    yield ""


def _member(name: str, value: object) -> str:
    if not inspect.isfunction(value):
        return name
    given = [one.replace(annotation=one.empty) for one in inspect.signature(value).parameters.values()]
    return f"{name}({', '.join(str(one) for one in given[1:])})"


def listed(names: Iterable[str]) -> str:
    """Names as code, in their order."""
    return ", ".join(f"`{name}`" for name in names)


def described(head: str, infos: Sequence[ColumnInfo]) -> Iterator[str]:
    """A table with a line for each column; without what none of them has."""
    more = [name for name in ("unit", "better") if any(getattr(info, name) for info in infos)]
    yield f"| {' | '.join([head, '', *more])} |"
    yield f"|{'---|' * (2 + len(more))}"
    for info in infos:
        cells = [f"`{info.name}`", cell(info.description), *(cell(getattr(info, name) or "") for name in more)]
        yield f"| {' | '.join(cells)} |"


def cell(text: str) -> str:
    """A sentence as a cell of a table."""
    return " ".join(text.split()).replace("|", "\\|")


def pages() -> dict[Path, str]:
    """The pages as they should be now."""
    made = {REFERENCE / "tables.md": tables(), REFERENCE / "formats.md": files(), REFERENCE / "hooks.md": hooks()}
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
