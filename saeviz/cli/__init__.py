"""The command line: one file per command. Data goes to stdout, everything else to stderr."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import click

from saeviz.cli.cache import cache
from saeviz.cli.check import check
from saeviz.cli.demo import demo
from saeviz.cli.heatmap import heatmap
from saeviz.cli.init import init
from saeviz.cli.plugins import plugins
from saeviz.cli.run import run
from saeviz.cli.serve import serve
from saeviz.cli.show import show
from saeviz.cli.store import store
from saeviz.errors import ExitCode, SaevizError


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="saeviz")
def saeviz() -> None:
    """Find, name and show the visual concepts inside a vision model that predict what people feel about images."""


for command in (run, demo, check, plugins, init, show, heatmap, store, cache, serve):
    saeviz.add_command(command)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and leave with its exit code; a user's mistake shows a sentence, never a traceback."""
    sys.exit(_exit_code(arguments))


def _exit_code(arguments: Sequence[str] | None) -> int:
    try:
        code = saeviz.main(arguments, prog_name="saeviz", standalone_mode=False)
        sys.stdout.flush()
    except SaevizError as error:
        click.echo(f"saeviz: {error}", err=True)
        return error.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        click.echo("saeviz: interrupted; the same command goes on where it was", err=True)
        # An interruption that came in code made from a string, as in some imports, stays noted until other such code
        # runs, and `python -m saeviz` would die of the signal instead of leaving with this code.
        exec("")  # noqa: S102
        return ExitCode.INTERRUPTED
    except BrokenPipeError:  # the reader, such as head, had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.DONE
    return int(code or ExitCode.DONE)
