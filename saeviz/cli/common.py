"""Shared by several commands: options, output and logging."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import click

from saeviz.discovery.manager import Manager
from saeviz.formats.files import explain_disk_errors
from saeviz.formats.objects import is_address
from saeviz.formats.plain import json_text, one_line, shortened
from saeviz.formats.run_folders import is_run_directory
from saeviz.pipeline.reading import Grants
from saeviz.pipeline.session import Session, logger
from saeviz.values.errors import ConfigError

LONGEST_LINE = 1500
F = TypeVar("F", bound=Callable[..., Any])

PLUGINS_HELP = (
    "Plugins to use, in addition to those of the run file and of SAEVIZ_PLUGINS (repeatable, comma-separated): NAME = "
    "only this third-party plugin, no:NAME = all except this one, ./file.py or module:pkg.mod = also this one, '' = "
    "only the bundled ones."
)


def plugins_option(command: F) -> F:
    """Add the option `--plugins` to a command."""
    return click.option("--plugins", "plugin_words", multiple=True, metavar="WORDS", help=PLUGINS_HELP)(command)


def chosen(plugin_words: tuple[str, ...]) -> tuple[str, ...] | None:
    """The words of `--plugins`, or None if it was not given."""
    return plugin_words or None


def reading_options(command: F) -> F:
    """Add the options that grant a finished run plugins, network access and secrets when it is read."""
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


def force_option(command: F) -> F:
    """Add the option `--force` to a command that writes a file, see `refuse_existing`."""
    return click.option("--force", is_flag=True, help="Overwrite existing files.")(command)


def refuse_existing(path: Path, *, force: bool, how: str = " with --out") -> None:
    """Raise `ConfigError` for a file that exists, or a folder with anything in it; `how` another name is chosen."""
    with explain_disk_errors(path, "read"):
        is_taken = any(path.iterdir()) if path.is_dir() else path.exists() or path.is_symlink()
    if is_taken and not force:
        if path.is_dir():
            raise ConfigError(f"{path} has files already; choose another folder{how}, or overwrite them with --force")
        raise ConfigError(f"{path} already exists; choose another name{how}, or overwrite it with --force")


def granted(plugin_words: tuple[str, ...], *, online: bool, secrets: tuple[str, ...]) -> Grants:
    """The grants given by the options of `reading_options`."""
    return Grants(chosen(plugin_words), online, secrets)


class AboutARun(click.Command):
    """A command about a feature of the run that `--run` names. A run given as an argument is told where it belongs."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As of any command."""
        for before, word in pairwise(["", *args]):
            if before != "--run" and _is_run(word):
                others = [other for other in args if other != word]
                wanted = [one.make_metavar(ctx) for one in self.params if isinstance(one, click.Argument)]
                wanted = wanted[sum(not other.startswith("-") for other in others) :]
                raise ConfigError(
                    f"{word} is a run directory, which an option names: "
                    f"{ctx.command_path} {' '.join([*others, *wanted])} --run {word}"
                    + (" (its selected.csv lists the selected features)" if "FEATURE" in wanted else "")
                )
        return super().parse_args(ctx, args)


def _is_run(word: str) -> bool:
    try:
        return is_address(word) or is_run_directory(Path(word))
    except OSError:  # no file can have this name
        return False


def settings_options(command: F) -> F:
    """Add the options that set the inputs and settings of a run."""
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
        """Log the failure, since nothing is written."""
        logger.warning("%s: left out: %s", one_line(subject), one_line(error))


def say(text: object = "") -> None:
    """Print a line of the command's result on stdout, without terminal control characters."""
    click.echo(one_line(str(text)))


def say_json(value: Any, *, indent: int | None = 2) -> None:
    """Print the command's result as JSON on stdout."""
    click.echo(json_text(value, encoding=getattr(sys.stdout, "encoding", None) or "utf-8", indent=indent))


def tell(text: object) -> None:
    """Print a message on stderr, prefixed by "saeviz:"; further lines are indented, very long ones cut."""
    lines = (shortened(line, LONGEST_LINE) for line in str(text).split("\n"))
    click.echo("saeviz: " + "\n  ".join(lines), err=True)


def tell_problems(manager: Manager) -> None:
    """Print a line on stderr for each plugin that was skipped because it is broken."""
    for problem in manager.problems:
        tell(problem)


def latest_run(here: Path, *, how: str = "--run DIR") -> Path:
    """The most recently changed run directory: `here` itself or one in `here/runs`.

    Raises `ConfigError` if there is none; `how` is what to write to name one.
    """
    runs = [path.parent for path in (*here.glob("run.json"), *here.glob("runs/*/run.json"))]
    if not runs:
        raise ConfigError(f"no run found in {here} or {here / 'runs'}; name one with {how}")
    return max(runs, key=lambda path: (path / "run.json").stat().st_mtime)


class _StderrHandler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        from tqdm import tqdm

        prefix = "warning: " if record.levelno >= logging.WARNING else ""
        with suppress(OSError):  # a closed stderr must not end the run
            if sys.stderr is not None:
                tqdm.write(prefix + one_line(record.getMessage()), file=sys.stderr)


def log_to_stderr(*, quiet: bool) -> None:
    """Show the log of a run on stderr; with `quiet`, only warnings."""
    logger = logging.getLogger("saeviz")
    handler = _StderrHandler(logging.WARNING if quiet else logging.INFO)
    logger.handlers = [handler]
    logger.setLevel(logging.INFO)
    logger.propagate = False


def more_about(page: str) -> str:
    """A line that leads from a message to a page of `saeviz explain`; for people only: logs end with the message."""
    is_for_people = sys.stderr is not None and sys.stderr.isatty()
    return f"\nmore about such errors: saeviz explain {page}" if is_for_people else ""
