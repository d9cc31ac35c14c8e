"""`saeviz compare`: what two runs have in common."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from saeviz.api import component, open_run
from saeviz.cli.common import (
    chosen,
    force_option,
    log_to_stderr,
    reading_options,
    refuse_existing,
    say,
    say_json,
    tell,
)
from saeviz.comparison.compare import compare as compare_runs
from saeviz.formats.plain import one_line, plain
from saeviz.formats.tables import write_csv, write_parquet
from saeviz.pipeline.blame import blaming
from saeviz.values.errors import ConfigError, ExitCode

if TYPE_CHECKING:
    import pandas as pd

SUMMARIES = ("ratings", "predictions", "spaces")
"""The tables that are short enough to print."""


@click.command()
@click.argument("run_a", type=click.Path())
@click.argument("run_b", type=click.Path())
@click.option(
    "--by",
    "kind",
    type=click.Choice(["relations", "features"]),
    help="relations: same SAEs, do relations with ratings hold in both; features: same images, which features have "
    "a partner (default: relations if the SAEs are the same).",
)
@click.option("--out", type=click.Path(path_type=Path), help="Folder to write all tables to.")
@click.option(
    "--format", "ending", type=click.Choice(["csv", "parquet"]), default="csv", help="Format of the tables in --out."
)
@click.option("--html", is_flag=True, help="Also write a page about both runs to --out: index.html.")
@force_option
@click.option("--json", "as_json", is_flag=True, help="Print the summaries as JSON.")
@reading_options
def compare(
    run_a: str,
    run_b: str,
    out: Path | None,
    force: bool,
    plugin_words: tuple[str, ...],
    online: bool,
    secrets: tuple[str, ...],
    **choices: Any,
) -> int:
    """Compare RUN_A with RUN_B: the same SAEs on other images, or other SAEs on the same images."""
    if choices["html"] and not out:
        raise ConfigError("--html writes a page beside the tables; name a folder for them with --out")
    if out:
        refuse_existing(out, force=force)
    log_to_stderr(quiet=True)
    one, other = (
        open_run(path, plugins=chosen(plugin_words), online=online, secrets=secrets) for path in (run_a, run_b)
    )
    found = compare_runs(one, other, choices["kind"])
    files = _written(out, found.tables, choices["ending"]) if out else []
    if out and choices["html"]:
        reporter = component("reporter", "html", plugins=plugin_words)
        with blaming("the reporter html", None):  # what a stranger's run.json says may be anything
            files.append(reporter.write_comparison(found, (one, other), out))
    summaries = {name: table for name, table in found.tables.items() if name in SUMMARIES}
    if choices["as_json"]:
        tables = {name: plain(table.to_dict("records")) for name, table in summaries.items()}
        paths = [str(path) for path in files]
        about = {"run_a": str(run_a), "run_b": str(run_b), "kind": found.kind, "notes": list(found.notes)}
        say_json({**about, "tables": tables, "files": paths})
        return ExitCode.DONE
    for note in found.notes:
        tell(f"note: {note}")
    for name, table in summaries.items():
        say(f"{name}:")
        for line in _lines(table):
            say(f"  {line}")
    for path in files:
        say(path)
    return ExitCode.DONE


def _written(folder: Path, tables: Mapping[str, pd.DataFrame], ending: str) -> list[Path]:
    paths = {name: folder / f"{name}.{ending}" for name in tables}
    for name, table in tables.items():
        (write_csv if ending == "csv" else write_parquet)(paths[name], table)
    return list(paths.values())


def _lines(table: pd.DataFrame) -> list[str]:
    """A row of the table per line, its columns aligned."""
    rows = [list(map(str, table)), *([_cell(cell) for cell in row] for row in table.itertuples(index=False))]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _cell(value: Any) -> str:
    value = plain(value)
    if value is None:
        return "-"
    return f"{value:.3g}" if isinstance(value, float) else one_line(str(value))
