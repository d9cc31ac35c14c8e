"""The picture of the floors in `architecture.md`, drawn from the code: `make docs` writes it, a test compares it.

What stands on which floor is the list of `tests/core/test_floors.py`; what a room is, its own docstring says; what it
uses, its imports do.
"""

from __future__ import annotations

import ast
from pathlib import Path

from tests.core.test_floors import FLOORS, LEVELS, MODULES, imported, room_of

PAGE = Path(__file__).parent / "explanation" / "architecture.md"
BEGIN, END = "<!-- floors: made by `make docs` -->\n", "<!-- end of floors -->"


def sentence(room: str) -> str:
    """The first sentence of what a room says of itself."""
    told = ast.get_docstring(ast.parse(MODULES[room].read_text(encoding="utf-8"))) or ""
    return " ".join(told.split("\n\n", 1)[0].split()).partition(". ")[0].rstrip(".")


def uses(room: str) -> list[str]:
    """The rooms that the modules of a room import, from the top down."""
    names = (name for module, path in MODULES.items() if room_of(module) == room for name in imported(path))
    rooms = {found for name in names if (found := room_of(name)) and found != room}
    return sorted(rooms, key=lambda found: (-LEVELS[found], found))


def picture() -> str:
    """All floors, top to bottom, as a block of Markdown."""
    lines: list[str] = []
    for number, floor in reversed([*enumerate(FLOORS, start=1)]):
        for place, room in enumerate(floor.split()):
            below = " ".join(name.removeprefix("saeviz.") for name in uses(f"saeviz.{room}"))
            lines.append(f"{'' if place else number:>2}  {room:<17} {sentence(f'saeviz.{room}')}")
            lines += [f"{'':21} -> {below}"] if below else []
    return "\n".join(["```", *lines, "```", ""])


def page() -> str:
    """`architecture.md` with the picture as it should be now."""
    before, begin, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise SystemExit(f"{PAGE.name}: the picture belongs between {BEGIN.strip()} and {END}; put both lines back")
    return before + begin + picture() + end + after


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
