"""`saeviz explain`: what an error means, what causes it and what to do. The site has the same pages."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from importlib.resources import files

import click

from saeviz.cli.common import say
from saeviz.discovery.mistakes import suggest
from saeviz.values.errors import ConfigError, ExitCode, SaevizError

PAGES = {
    path.name.removesuffix(".md"): path
    for path in sorted((files("saeviz.cli") / "templates" / "errors").iterdir(), key=lambda path: path.name)
}
"""A page in Markdown for each class of error."""

WIDTH = 100


def page_of(error: SaevizError | type[SaevizError]) -> str:
    """The name of the page about an error: its own, or that of the class that it is derived from; '' if none."""
    kind = error if isinstance(error, type) else type(error)
    return next((one.__name__ for one in kind.__mro__ if one.__name__ in PAGES), "")


@click.command()
@click.argument("error", required=False)
def explain(error: str | None) -> int:
    """Explain an error: its causes, and what to do. Without ERROR, list all kinds."""
    if error is None:
        for path in PAGES.values():
            say(path.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# "))
        return ExitCode.DONE
    found = {name.lower(): name for name in PAGES}.get(error.lower())
    if found is None:
        hint = suggest(error, PAGES) or f"; there are: {', '.join(PAGES)}"
        raise ConfigError(f"{error!r} is not a kind of error{hint}")
    for line in _plain(PAGES[found].read_text(encoding="utf-8")):
        say(line)
    return ExitCode.DONE


def _plain(page: str) -> Iterator[str]:
    """The lines of a page for a terminal; of a table the rows, each as a paragraph with a part for each column."""
    for line in page.splitlines():
        if line.startswith("|---"):
            continue
        if not line.startswith("|"):
            yield from textwrap.wrap(line.removeprefix("# "), WIDTH) or [""]
            continue
        first, *others = (cell.strip() for cell in line.strip("|").split(" | "))
        yield from textwrap.wrap(first, WIDTH, initial_indent="- ", subsequent_indent="  ")
        for cell in others:
            yield from textwrap.wrap(cell, WIDTH, initial_indent="    ", subsequent_indent="    ")
