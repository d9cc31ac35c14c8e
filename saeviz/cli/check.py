"""`saeviz check`: validate a run without loading a model; with `--deep`, also test the model on a few images."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path
from typing import Any

import click

from saeviz.api import Prepared, prepare
from saeviz.cli.common import (
    Look,
    chosen,
    log_to_stderr,
    plugins_option,
    say,
    say_json,
    settings_options,
    tell,
    tell_problems,
)
from saeviz.cli.run import layers_of
from saeviz.config.schema import ComponentConfig
from saeviz.contract import handover
from saeviz.contract.roles import Checkable
from saeviz.formats.plain import plain
from saeviz.pipeline.session import Session, logger
from saeviz.pipeline.stages import STAGES
from saeviz.values.errors import ConfigError, ExitCode
from saeviz.values.images import ImageItem
from saeviz.values.outcomes import Health

RATINGS_SHOWN = 30


@click.command()
@click.argument("run_file", required=False, type=click.Path(path_type=Path))
@settings_options
@plugins_option
@click.option("--deep", is_flag=True, help="Also load the model and measure on a few images how well the SAEs fit.")
@click.option(
    "--sample", type=click.IntRange(1, 100_000), default=32, show_default=True, help="Number of images used by --deep."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def check(
    run_file: Path | None, plugin_words: tuple[str, ...], deep: bool, sample: int, as_json: bool, **settings: Any
) -> int:
    """Check a run's options, plugins, packages, images and ratings. Writes nothing and loads no model.

    With --deep, the model is loaded as well, and the exit code is 1 if an SAE does not fit.
    """
    log_to_stderr(quiet=False)
    prepared = prepare(layers_of(run_file, **settings), chosen(plugin_words))
    tell_problems(prepared.manager)
    session = Look(prepared.config, prepared.manager, prepared.as_it_is())
    for stage in STAGES:
        if stage.applies(session):
            stage.check(session)
    found = _look(session, prepared)
    if not as_json:
        _print(found)
    if not found["ratings"]:
        tell("no image has a rating, so nothing will be correlated")
    healths = _health(session, sample) if deep else []
    if as_json:
        deeper = {"health": [_as_json(health) for health in healths]} if deep else {}
        say_json({**found, **deeper})
    else:
        for line in chain.from_iterable(map(_table, healths)):
            say(line)
    warnings = [warning for health in healths for warning in health.warnings]
    for warning in warnings:
        tell(f"warning: {warning}")
    return ExitCode.FAILED if warnings else ExitCode.DONE


def _look(session: Session, prepared: Prepared) -> dict[str, Any]:
    rated = Counter(name for item in session.dataset.items for name in item.ratings)
    return {
        "components": [{"place": component.place, "use": component.use} for component in prepared.config.components()],
        "images": len(session.dataset.items),
        "ratings": dict(rated),
        "run_dir": prepared.address or str(prepared.directory),
    }


def _print(found: dict[str, Any]) -> None:
    rows = [(component["place"], component["use"]) for component in found["components"]]
    rows.append(("images", found["images"]))
    rows += [("rating", f"{name}: {count} images") for name, count in islice(found["ratings"].items(), RATINGS_SHOWN)]
    if len(found["ratings"]) > RATINGS_SHOWN:
        rows.append(("", f"and {len(found['ratings']) - RATINGS_SHOWN} more ratings; --json lists all"))
    rows.append(("run dir", found["run_dir"]))
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        say(f"{name:{width}} {value}")


def _health(session: Session, sample: int) -> list[Health]:
    items = _spread(session.dataset.items, sample)
    try:
        return [health for config in session.config.extractors for health in _health_of(session, config, items)]
    finally:
        session.close()


def _health_of(session: Session, config: ComponentConfig, items: Sequence[ImageItem]) -> list[Health]:
    with session.components.blaming(config):
        extractor = session.components.part(config)
    if not isinstance(extractor, Checkable):
        raise ConfigError(f"--deep: the extractor {config.use} does not support deep checks")
    logger.info("%s: checking on %d of %d images", config.place, len(items), len(session.dataset.items))
    with session.components.blaming(config):
        given = extractor.health(items)
        found = list(handover.each(session.components.who(config), "health", given, Health))
    return [replace(one, subject=f"{config.name}: {one.subject}") for one in found] if config.name else found


def _spread(items: Sequence[ImageItem], n: int) -> list[ImageItem]:
    """At most `n` items spread evenly over the list."""
    n = min(n, len(items))
    return [items[number * len(items) // n] for number in range(n)]


def _table(health: Health) -> Iterator[str]:
    width = max((len(figure.name) for figure in health.figures), default=0)
    yield ""
    yield health.subject
    yield f"  {'':{width}}  measured  published"
    for figure in health.figures:
        yield f"  {figure.name:{width}}  {_text(figure.measured):>8}  {_text(figure.published):>9}"


def _text(value: float | None) -> str:
    if value is None or math.isnan(value):
        return "-"
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"


def _as_json(health: Health) -> Any:
    figures = [figure._asdict() for figure in health.figures]
    return plain({"subject": health.subject, "figures": figures, "warnings": health.warnings})
