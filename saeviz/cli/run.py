"""`saeviz run`: run the pipeline."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from saeviz.api import Prepared, execute, execute_part, prepare
from saeviz.cli.common import (
    Look,
    chosen,
    log_to_stderr,
    more_about,
    plugins_option,
    say,
    settings_options,
    tell,
    tell_problems,
)
from saeviz.config.layers import Layer, assignment_layer, read_run_file
from saeviz.pipeline.parts import OF_PARTS, Part
from saeviz.pipeline.run import Plan, foresee
from saeviz.pipeline.stages import STAGE_NAMES
from saeviz.results.run import Run
from saeviz.values.errors import ConfigError, ExitCode
from saeviz.values.regular import real_path

STAGES_OF_NAMES = ("label", "judge", "judge-ratings")


def stage_options(command: Any) -> Any:
    """Add the options that choose the stages and the number of images."""
    for option in reversed(
        [
            click.option(
                "--from", "first", type=click.Choice(STAGE_NAMES), default=STAGE_NAMES[0], help="First stage to run."
            ),
            click.option(
                "--until", "last", type=click.Choice(STAGE_NAMES), default=STAGE_NAMES[-1], help="Last stage to run."
            ),
            click.option(
                "--redo",
                multiple=True,
                type=click.Choice(STAGE_NAMES),
                help="Run this stage again even if it is up to date (repeatable).",
            ),
            click.option("--limit", type=click.IntRange(1, 10**9), help="Use only the first N images."),
            click.option("-q", "--quiet", is_flag=True, help="Print only warnings."),
        ]
    ):
        command = option(command)
    return command


@click.command()
@click.argument("run_file", required=False, type=click.Path(path_type=Path))
@settings_options
@plugins_option
@stage_options
@click.option(
    "--part",
    metavar="K/N",
    help="Only do the K-th of N parts: extract and embed its images or, after --gather --until embed, its scores.",
)
@click.option("--gather", is_flag=True, help="Take in what all parts have made, then run the remaining stages.")
@click.option("--dry-run", is_flag=True, help="Only print which stages would run and what labeling would cost.")
def run(  # noqa: PLR0913, PLR0917 one per option
    run_file: Path | None,
    plugin_words: tuple[str, ...],
    first: str,
    last: str,
    redo: tuple[str, ...],
    limit: int | None,
    quiet: bool,
    part: str | None,
    gather: bool,
    dry_run: bool,
    **settings: Any,
) -> int:
    """Run the pipeline described by RUN_FILE, or the default pipeline over --images DIR --ratings FILE.

    An interrupted run resumes where it stopped; stages that are up to date are skipped.
    """
    log_to_stderr(quiet=quiet)
    if part is not None and (gather or dry_run):
        raise ConfigError(f"--part goes without {'--gather' if gather else '--dry-run'}")
    wanted = None if part is None else Part.parse(part)
    prepared = prepare(layers_of(run_file, **settings), chosen(plugin_words), OF_PARTS if wanted else None)
    tell_problems(prepared.manager)
    plan = Plan(first, last, redo)
    if wanted is not None:
        return carry_out_part(prepared, wanted, plan, limit)
    return foretell(prepared, plan, limit) if dry_run else carry_out(prepared, plan, limit, gathers=gather)


def foretell(prepared: Prepared, plan: Plan, limit: int | None) -> int:
    """Print on stdout what a run would do, without writing files, running models or sending requests."""
    session = Look(prepared.config, prepared.manager, prepared.as_it_is(), limit)
    try:
        foreseen = foresee(session, plan)
        width = max(8, *(len(stage.name) for stage, _ in foreseen))
        for stage, runs in foreseen:
            say(f"{stage.name:{width}} {stage.estimate(session, plan.redo) if runs else 'up to date'}")
    finally:
        session.close()
    return ExitCode.DONE


def carry_out_part(prepared: Prepared, part: Part, plan: Plan, limit: int | None) -> int:
    """Make one part of a run, and return the exit code."""
    n_left_out = execute_part(prepared, part, plan, limit=limit, show_progress=sys.stderr.isatty())
    if n_left_out:
        where = f"failures.jsonl of {prepared.address}" if prepared.address else prepared.directory / "failures.jsonl"
        tell(f"{n_left_out} left out; --gather lists them in {where}")
        return ExitCode.PARTIAL
    return ExitCode.DONE


def carry_out(prepared: Prepared, plan: Plan, limit: int | None, *, gathers: bool = False) -> int:
    """Run, print the paths of the reports on stdout, and return the exit code."""
    finished = execute(prepared, plan, limit=limit, show_progress=sys.stderr.isatty(), gathers=gathers)
    for path in reports(finished):
        say(path)
    failures = finished.failures
    if failures:
        names = any(failure.stage in STAGES_OF_NAMES for failure in failures)
        more = more_about("LabelError" if names else "ImageError")
        tell(f"{len(failures)} left out; see {prepared.directory / 'failures.jsonl'}{more}")
        return ExitCode.PARTIAL
    return ExitCode.DONE


def layers_of(
    run_file: Path | None,
    images: str | None,
    ratings: str | None,
    out: str | None,
    device: str | None,
    assignments: tuple[str, ...],
) -> list[Layer]:
    """The layers of settings: run file, `--set`, other options. Later ones override earlier ones."""
    if run_file is None and images is None and not any(text.startswith("images.") for text in assignments):
        raise ConfigError("nothing to run: give a run file (`saeviz init` writes one) or --images DIR --ratings FILE")
    here = Path.cwd()
    flags: dict[str, dict[str, str]] = {"images": {}, "run": {}}
    for table, key, value in (
        ("images", "path", images),
        ("images", "ratings", ratings),
        ("run", "dir", out),
        ("run", "device", device),
    ):
        if value is not None:
            flags[table][key] = value
    bottom = read_run_file(run_file) if run_file else Layer(_default_dir(images), here, "the defaults")
    return [bottom, assignment_layer(assignments, here), Layer(flags, here, "the flags")]


def _default_dir(images: str | None) -> dict[str, Any]:
    return {"run": {"dir": f"runs/{real_path(Path(images or 'images')).name or 'images'}"}}


def reports(finished: Run) -> list[Path]:
    """The paths of the reports that were written."""
    files = finished.manifest["stages"].get("report", {}).get("files", [])
    return [finished.dir / path for path in files]
