"""What several commands share: flags, the log on stderr."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import click

from saeviz.discovery.manager import Manager
from saeviz.formats.plain import json_text, one_line, shortened
from saeviz.pipeline.reading import Grants
from saeviz.pipeline.session import Session, logger
from saeviz.values.errors import ConfigError

LONGEST_LINE = 1500
F = TypeVar("F", bound=Callable[..., Any])

PLUGINS_HELP = (
    "Which plugins to use (repeatable, comma-separated): NAME only this third-party plugin, no:NAME all but this one, "
    "./file.py or module:pkg.mod this one as well, '' only the bundled ones."
)


def plugins_option(command: F) -> F:
    """The flag `--plugins`."""
    return click.option("--plugins", "plugin_words", multiple=True, metavar="WORDS", help=PLUGINS_HELP)(command)


def chosen(plugin_words: tuple[str, ...]) -> tuple[str, ...] | None:
    """None where the flag was not given, so that the environment or the run file decides."""
    return plugin_words or None


def reading_options(command: F) -> F:
    """The flags that say what a run that is read may have: the plugins of the reader, the network, secrets."""
    for option in reversed(
        [
            plugins_option,
            click.option("--online", is_flag=True, help="Allow components named in run.json to use the network."),
            click.option(
                "--secret",
                "secrets",
                multiple=True,
                metavar="VARIABLE",
                help="Allow components named in run.json to read this environment variable (repeatable).",
            ),
        ]
    ):
        command = option(command)
    return command


def granted(plugin_words: tuple[str, ...], *, online: bool, secrets: tuple[str, ...]) -> Grants:
    """What the flags of `reading_options` say."""
    return Grants(chosen(plugin_words), online, secrets)


def settings_options(command: F) -> F:
    """The flags that say what a run is made of."""
    for option in reversed(
        [
            click.option("--images", metavar="DIR", help="Folder of images (images.path)."),
            click.option("--ratings", metavar="FILE", help="Table of ratings (images.ratings)."),
            click.option("--out", metavar="DIR", help="Run directory (run.dir)."),
            click.option("--device", metavar="NAME", help="auto, cpu, cuda, cuda:1 or mps (run.device)."),
            click.option(
                "--set",
                "assignments",
                multiple=True,
                metavar="KEY=VALUE",
                help="Set an option, for example extractor.layers=[11] (repeatable).",
            ),
        ]
    ):
        command = option(command)
    return command


class Look(Session):
    """A session that writes nothing."""

    def failed(self, subject: str, error: str) -> None:
        """Say it; there is no list to put it in."""
        logger.warning("%s: left out: %s", one_line(subject), one_line(error))


def say(text: object = "") -> None:
    """A line of the command's result, on stdout; nothing in it steers the terminal."""
    click.echo(one_line(str(text)))


def say_json(value: Any, *, indent: int | None = 2) -> None:
    """The command's result as JSON, on stdout."""
    click.echo(json_text(value, encoding=getattr(sys.stdout, "encoding", None) or "utf-8", indent=indent))


def tell(text: object) -> None:
    """What is not the result, on stderr, in the name of saeviz; further lines are indented, endless ones cut."""
    lines = (shortened(line, LONGEST_LINE) for line in str(text).split("\n"))
    click.echo("saeviz: " + "\n  ".join(lines), err=True)


def tell_problems(manager: Manager) -> None:
    """A line on stderr for each plugin that is left out because it is broken."""
    for problem in manager.problems:
        tell(problem)


def latest_run(here: Path) -> Path:
    """The run directory that was worked on last, of those in `here` and in `runs` below it."""
    runs = [path.parent for path in (*here.glob("run.json"), *here.glob("runs/*/run.json"))]
    if not runs:
        raise ConfigError(f"no run found in {here} or {here / 'runs'}; name one with --run DIR")
    return max(runs, key=lambda path: (path / "run.json").stat().st_mtime)


class _StderrHandler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        from tqdm import tqdm

        prefix = "warning: " if record.levelno >= logging.WARNING else ""
        with suppress(OSError):  # a run does not end because nobody reads what it says
            if sys.stderr is not None:
                tqdm.write(prefix + one_line(record.getMessage()), file=sys.stderr)


def log_to_stderr(*, quiet: bool) -> None:
    """Show what the run says as it goes on; warnings only where `quiet`."""
    logger = logging.getLogger("saeviz")
    handler = _StderrHandler(logging.WARNING if quiet else logging.INFO)
    logger.handlers = [handler]
    logger.setLevel(logging.INFO)
    logger.propagate = False
