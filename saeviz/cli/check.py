"""`saeviz check`: everything validated, no model loaded."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import click

from saeviz.api import prepare
from saeviz.cli.common import chosen, log_to_stderr, plugins_option, settings_options, tell_problems
from saeviz.cli.run import layers_of
from saeviz.errors import ExitCode
from saeviz.rundir import RunDir
from saeviz.session import Session


@click.command()
@click.argument("run_file", required=False, type=click.Path(path_type=Path))
@settings_options
@plugins_option
def check(run_file: Path | None, plugin_words: tuple[str, ...], **settings: Any) -> int:
    """Check a run: its options, plugins, packages, images and ratings. Nothing is written, no model is loaded."""
    log_to_stderr(quiet=False)
    prepared = prepare(layers_of(run_file, **settings), chosen(plugin_words))
    tell_problems(prepared.manager)
    RunDir.check(prepared.directory)
    session = Session(prepared.config, prepared.manager, RunDir(prepared.directory))
    rated = Counter(name for item in session.items for name in item.ratings)
    for component in prepared.config.components():
        click.echo(f"{component.place:12} {component.use}")
    click.echo(f"{'images':12} {len(session.items)}")
    for name, count in rated.items():
        click.echo(f"{'rating':12} {name}: {count} images")
    if not rated:
        click.echo("saeviz: no image has a rating, so nothing will be correlated", err=True)
    click.echo(f"{'run dir':12} {prepared.directory}")
    return ExitCode.DONE
