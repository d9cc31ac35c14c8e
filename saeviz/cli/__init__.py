"""The command line: one file per command. Data goes to stdout, everything else to stderr."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from io import StringIO, TextIOWrapper
from pathlib import Path

import click

from saeviz.cli.assign import assign
from saeviz.cli.cache import cache
from saeviz.cli.check import check
from saeviz.cli.common import more_about, tell
from saeviz.cli.compare import compare
from saeviz.cli.demo import demo
from saeviz.cli.explain import explain, page_of
from saeviz.cli.groups import groups
from saeviz.cli.heatmap import heatmap
from saeviz.cli.init import init
from saeviz.cli.new import new
from saeviz.cli.notes import notes
from saeviz.cli.paper import paper
from saeviz.cli.plugins import plugins
from saeviz.cli.run import run
from saeviz.cli.serve import serve
from saeviz.cli.show import show
from saeviz.cli.store import store
from saeviz.formats.files import explained
from saeviz.formats.plain import safe
from saeviz.values.errors import ConfigError, ExitCode, SaevizError


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="saeviz")
def saeviz() -> None:
    """Find, name and show the visual concepts inside a vision model that go with what people feel about images."""
    try:
        Path.cwd()
    except OSError as error:
        raise ConfigError("the current folder no longer exists; change to another one") from error


for command in (
    run,
    demo,
    check,
    plugins,
    init,
    new,
    show,
    notes,
    compare,
    assign,
    groups,
    paper,
    heatmap,
    store,
    cache,
    serve,
    explain,
):
    saeviz.add_command(command)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and leave with its exit code; a user's mistake shows a sentence, never a traceback."""
    sys.exit(_exit_code(arguments))


def _exit_code(arguments: Sequence[str] | None) -> int:
    stdout = sys.stdout
    if isinstance(stdout, TextIOWrapper):
        stdout.reconfigure(errors="backslashreplace")  # a name that the terminal cannot display is not an error
    try:
        code = saeviz.main(arguments, prog_name="saeviz", standalone_mode=False)
        if sys.stdout is not None:
            sys.stdout.flush()
    except SaevizError as error:
        page = page_of(error)
        return _told(f"{error}{more_about(page) if page else ''}", error.exit_code)
    except click.ClickException as error:
        with suppress(OSError), StringIO() as shown:
            error.show(shown)
            click.echo(safe(shown.getvalue()), err=True, nl=False)
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        code = _told("interrupted; the same command resumes where it stopped", ExitCode.INTERRUPTED)
        # After an interrupt in code compiled from a string, as in some imports, Python remembers it until other such
        # code runs, and `python -m saeviz` would be killed by the signal instead of exiting with this code.
        exec("")  # noqa: S102
    except BrokenPipeError:  # the reader, such as head, closed the pipe
        _write_nowhere()
        code = ExitCode.DONE
    except SystemExit as error:
        # For a broken pipe, click replaces stdout and exits.
        code = ExitCode.DONE if sys.stdout is not stdout else error.code
        _write_nowhere()
    except OSError as error:  # not explained by the code that caused it
        code = _told(f"{error.filename or 'the output'} cannot be used: {explained(error)}", ExitCode.FAILED)
        _write_nowhere()
    except MemoryError:
        code = _told("out of memory; close other programs, or use fewer images or features", 1)
    return int(code or ExitCode.DONE)


def _told(message: object, code: int) -> int:
    with suppress(OSError):
        tell(message)
    return code


def _write_nowhere() -> None:
    """Redirect stdout to nowhere, so that Python does not fail again when it exits."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
