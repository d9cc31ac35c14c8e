"""`saeviz paper`: what a paper needs of a run."""

from __future__ import annotations

from hashlib import file_digest
from pathlib import Path

import click

from saeviz.api import component, open_run
from saeviz.cli.common import chosen, latest_run, log_to_stderr, reading_options, say
from saeviz.formats.files import explain_disk_errors
from saeviz.pipeline.blame import blaming
from saeviz.values.errors import ConfigError, ExitCode
from saeviz.values.regular import open_regular, read_regular

SUMS = "SHA256SUMS"
"""The file in which the reporter lists what it wrote, as `sha256sum` does."""


@click.command()
@click.argument("run", required=False, type=click.Path())
@click.option("--out", type=click.Path(path_type=Path), default="paper", help="Folder to write to (default: paper).")
@click.option("--force", is_flag=True, help="Write to a folder even if it holds other or changed files.")
@reading_options
def paper(
    run: str | None,
    out: Path,
    force: bool,
    plugin_words: tuple[str, ...],
    online: bool,
    secrets: tuple[str, ...],
) -> int:
    """Write a methods paragraph, BibTeX, tables and hashes of all files used for RUN (default: the most recent one)."""
    if not force and (foreign := _foreign(out)):
        raise ConfigError(
            f"{foreign} is not as saeviz paper wrote it; choose another folder with --out, or write to {out} with "
            "--force"
        )
    log_to_stderr(quiet=True)
    place = run or latest_run(Path.cwd(), how="saeviz paper RUN")
    found = open_run(place, plugins=chosen(plugin_words), online=online, secrets=secrets)
    reporter = component("reporter", "paper", plugins=plugin_words, folder=out)
    with blaming("the reporter paper", None):  # what a stranger's run.json says may be anything
        folder = reporter.write(found).parent
    say(folder)
    return ExitCode.DONE


def _foreign(folder: Path) -> Path | None:
    """What in the folder an earlier call did not write, or what has changed since; None if there is nothing."""
    with explain_disk_errors(folder, "read"):
        paths = sorted(folder.iterdir()) if folder.is_dir() else []
    try:
        known = read_regular(folder / SUMS, 2**20).decode(errors="replace").splitlines()
    except OSError:
        known = []
    return next((path for path in paths if path.name != SUMS and _sum_line(path) not in known), None)


def _sum_line(path: Path) -> str:
    try:
        with open_regular(path) as file:
            return f"{file_digest(file, 'sha256').hexdigest()}  {path.name}"
    except OSError:  # a folder, a pipe or what may not be read
        return ""
