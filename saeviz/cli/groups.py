"""`saeviz groups`: which images of a run are nearly the same."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import click

from saeviz.api import open_run
from saeviz.cli.common import chosen, log_to_stderr, reading_options, say, tell
from saeviz.formats.tables import write_csv
from saeviz.values.errors import ExitCode
from saeviz.values.near_duplicates import ALIKE, near_duplicates


@click.command()
@click.argument("directory", metavar="RUN", type=click.Path(path_type=Path))
@click.option(
    "--threshold",
    type=click.FloatRange(0, 1, min_open=True),
    default=ALIKE,
    show_default=True,
    help="Least cosine between the embeddings of two images of one group, the mean of all images removed.",
)
@click.option("--out", type=click.Path(path_type=Path), default=Path("groups.csv"), help="The file (groups.csv).")
@reading_options
def groups(
    directory: Path, threshold: float, out: Path, plugin_words: tuple[str, ...], online: bool, secrets: tuple[str, ...]
) -> int:
    """Propose groups of near-duplicates among the images of RUN, from its embeddings, as a CSV of item_id and group."""
    import pandas as pd

    log_to_stderr(quiet=True)
    run = open_run(directory, plugins=chosen(plugin_words), online=online, secrets=secrets)
    ids = [item.item_id for item in run.items]
    found = near_duplicates(ids, run.embeddings, threshold)
    write_csv(out, pd.DataFrame({"item_id": ids, "group": found}))
    sizes = Counter(group for group in found if group)
    tell(f"{sizes.total()} of {len(ids)} images are nearly the same as another, in {len(sizes)} groups")
    for group, size in sizes.most_common(5):
        tell(f"  {size} images like {group}")
    say(out)
    return ExitCode.DONE
