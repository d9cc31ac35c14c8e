"""`saeviz assign`: one feature for each rating."""

from __future__ import annotations

from pathlib import Path

import click

from saeviz.api import open_run
from saeviz.cli.common import log_to_stderr, say, tell
from saeviz.formats.tables import write_csv
from saeviz.results.assignment import assign as assign_features
from saeviz.values.errors import ConfigError, ExitCode


@click.command()
@click.argument("directory", metavar="RUN", type=click.Path())
@click.option("--out", type=click.Path(path_type=Path), default=Path("assigned.csv"), help="The file (assigned.csv).")
@click.option("--force", is_flag=True, help="Overwrite an existing file.")
def assign(directory: str, out: Path, force: bool) -> int:
    """Assign to each rating of RUN a feature of its own, so that the sum of absolute r is as large as possible."""
    if out.exists() and not force:
        raise ConfigError(f"{out} already exists; choose another name with --out, or overwrite it with --force")
    log_to_stderr(quiet=True)
    found = assign_features(open_run(directory))
    write_csv(out, found)
    size, strongest = found["r"].abs(), found["strongest_r"].abs()
    tell(
        f"{size.count():,} of {len(found):,} ratings have a feature of their own, with a mean |r| of {size.mean():.2f} "
        f"({strongest.mean():.2f} if several ratings could share a feature)"
    )
    say(out)
    return ExitCode.DONE
