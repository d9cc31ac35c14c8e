"""`saeviz demo`: the whole pipeline on pictures and a model that are bundled with saeviz."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

import click

from saeviz.api import prepare
from saeviz.cli.common import chosen, log_to_stderr, plugins_option, tell_problems
from saeviz.cli.run import carry_out, stage_options
from saeviz.config.layers import Layer, assignment_layer, read_run_file
from saeviz.contract.specs import ImageProviderSpec
from saeviz.discovery.manager import Manager
from saeviz.pipeline.run import Plan
from saeviz.values.errors import PluginError

DEMO = "gallery"


@click.command()
@click.option("--out", default="runs/demo", show_default=True, metavar="DIR", help="Run directory.")
@click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="KEY=VALUE",
    help="Set an option, for example images.count=200 (repeatable).",
)
@plugins_option
@stage_options
def demo(
    out: str, assignments: tuple[str, ...], plugin_words: tuple[str, ...], limit: int | None, quiet: bool, **stages: Any
) -> int:
    """Run the whole pipeline on a built-in gallery with known ground truth: offline, no API key, about two minutes."""
    log_to_stderr(quiet=quiet)
    here = Path.cwd()
    layers = [
        read_run_file(example_of(DEMO)),
        assignment_layer(assignments, here),
        Layer({"run": {"dir": out}}, here, "the flags"),
    ]
    prepared = prepare(layers, chosen(plugin_words))
    tell_problems(prepared.manager)
    return carry_out(prepared, Plan(stages["first"], stages["last"], stages["redo"]), limit)


def example_of(provider: str) -> Path:
    """The example run file of an image provider. Raises `PluginError` if it has none."""
    spec = Manager.discover().offer("images", provider).spec
    if not isinstance(spec, ImageProviderSpec) or not spec.example:
        raise PluginError(f"the image provider {provider!r} has no example to run")
    package, _, path = spec.example.partition(":")
    return Path(str(files(package).joinpath(path)))
