"""`saeviz groups`: which images of a run are nearly the same."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Sequence
from io import StringIO
from pathlib import Path

import click

from saeviz.api import open_run
from saeviz.cli.common import (
    chosen,
    force_option,
    log_to_stderr,
    reading_options,
    refuse_existing,
    say,
    tell,
)
from saeviz.formats.files import write_atomic
from saeviz.values.errors import ExitCode
from saeviz.values.near_duplicates import ALIKE, near_duplicates


@click.command()
@click.argument("directory", metavar="RUN", type=click.Path())
@click.option(
    "--threshold",
    type=click.FloatRange(0, 1, min_open=True),
    default=ALIKE,
    show_default=True,
    help="Smallest cosine between the embeddings of two near-duplicates, after subtracting the mean of all images.",
)
@click.option("--out", type=click.Path(path_type=Path), default=Path("groups.csv"), help="The file (groups.csv).")
@force_option
@reading_options
def groups(
    directory: str,
    threshold: float,
    out: Path,
    force: bool,
    plugin_words: tuple[str, ...],
    online: bool,
    secrets: tuple[str, ...],
) -> int:
    """Propose groups of near-duplicates among the images of RUN, from its embeddings, as a CSV of item_id and group."""
    refuse_existing(out, force=force)
    log_to_stderr(quiet=True)
    run = open_run(directory, plugins=chosen(plugin_words), online=online, secrets=secrets)
    ids = [item.item_id for item in run.items]
    found = near_duplicates(ids, run.embeddings, threshold)
    write_atomic(out, _table(ids, found))
    sizes = Counter(group for group in found if group)
    many = f"{len(sizes)} group{'s' * (len(sizes) != 1)}"
    tell(
        f"{sizes.total()} of {len(ids)} images are nearly the same as another, in {many}"
        if sizes
        else f"no two of {len(ids)} images are nearly the same; see --threshold"
    )
    for group, size in sizes.most_common(5):
        tell(f"  {size} images like {group}")
    say(out)
    return ExitCode.DONE


def _table(ids: Sequence[str], found: Sequence[str]) -> str:
    """The CSV, with ids exactly as they are: it is to be joined to a table."""
    text = StringIO()
    csv.writer(text).writerows([("item_id", "group"), *zip(ids, found, strict=True)])
    return text.getvalue()
