"""`saeviz explain`: what an error means, what causes it and what to do. The site has the same pages."""

from __future__ import annotations

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
    for line in PAGES[found].read_text(encoding="utf-8").splitlines():
        say(line)
    return ExitCode.DONE
