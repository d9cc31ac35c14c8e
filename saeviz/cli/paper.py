"""`saeviz paper`: what a paper needs of a run."""

from __future__ import annotations

from pathlib import Path

import click

from saeviz.api import component, open_run
from saeviz.cli.common import chosen, latest_run, log_to_stderr, reading_options, say
from saeviz.pipeline.blame import blaming
from saeviz.values.errors import ExitCode


@click.command()
@click.argument("run", required=False, type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), default="paper", help="Folder to write to (default: paper).")
@reading_options
def paper(run: Path | None, out: Path, plugin_words: tuple[str, ...], online: bool, secrets: tuple[str, ...]) -> int:
    """Write a methods paragraph, BibTeX, tables and hashes of all files used for RUN (default: the most recent one)."""
    log_to_stderr(quiet=True)
    found = open_run(run or latest_run(Path.cwd()), plugins=chosen(plugin_words), online=online, secrets=secrets)
    reporter = component("reporter", "paper", plugins=plugin_words, folder=out)
    with blaming("the reporter paper", None):  # what a stranger's run.json says may be anything
        folder = reporter.write(found).parent
    say(folder)
    return ExitCode.DONE
