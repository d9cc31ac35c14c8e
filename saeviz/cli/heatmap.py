"""`saeviz heatmap`: draw where on an image a feature fires."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import click

from saeviz.api import open_run
from saeviz.cli.common import (
    AboutARun,
    chosen,
    force_option,
    latest_run,
    log_to_stderr,
    reading_options,
    refuse_existing,
    say,
    say_json,
    tell,
)
from saeviz.formats.files import write_atomic
from saeviz.formats.plain import plain
from saeviz.pictures.heatmap import MARK
from saeviz.results.run import Run
from saeviz.values.errors import ConfigError, ExitCode
from saeviz.values.features import Feature

DEFAULT = Path("heatmap.png")


@click.command(cls=AboutARun)
@click.argument("feature")
@click.argument("item")
@click.option("--run", "directory", type=click.Path(), help="Run directory (default: the most recent one here).")
@click.option("--out", type=click.Path(path_type=Path), help=f"PNG file to write (default: {DEFAULT}).")
@force_option
@click.option(
    "--smooth/--nearest", default=True, help="Interpolate between cells (default), or show each cell as a square."
)
@click.option("--fine", is_flag=True, help="Divide each patch into 5 x 5 cells; takes 25 forward passes.")
@click.option("--json", "as_json", is_flag=True, help="Print the values as JSON instead of drawing a picture.")
@reading_options
def heatmap(
    feature: str,
    item: str,
    directory: str | None,
    out: Path | None,
    plugin_words: tuple[str, ...],
    online: bool,
    secrets: tuple[str, ...],
    **choices: bool,
) -> int:
    """Draw where on the image ITEM a FEATURE, written like layer11.cls/4711, fires."""
    log_to_stderr(quiet=True)
    as_json, force = choices.pop("as_json"), choices.pop("force")
    if as_json and out:
        raise ConfigError("--json prints numbers and --out writes a picture; use only one of them")
    out = out or DEFAULT
    if out.suffix.lower() != ".png":
        raise ConfigError(f"--out: {out} must end in .png")
    if not as_json:
        refuse_existing(out, force=force)
    run = open_run(directory or latest_run(Path.cwd()), plugins=chosen(plugin_words), online=online, secrets=secrets)
    if as_json:
        say_json(_numbers(run, feature, item, fine=choices["fine"]), indent=None)
    else:
        from PIL.PngImagePlugin import PngInfo

        picture, about = BytesIO(), PngInfo()
        about.add_text(*MARK)
        run.heatmap_image(feature, item, **choices).save(picture, "png", pnginfo=about)
        write_atomic(out, picture.getvalue())
        say(out)
    if Feature.parse(feature).tokens == "cls":
        tell(
            f"{feature} is read at the class token; the map shows where the same SAE feature fires on patches",
        )
    return ExitCode.DONE


def _numbers(run: Run, feature: str, item: str, *, fine: bool) -> dict[str, Any]:
    box = run.field_of_view(item, feature)
    values = run.heatmap(feature, item, fine=fine)
    return {
        "run": str(run.dir),
        "feature": str(Feature.parse(feature)),
        "item_id": item,
        "field_of_view": list(box),
        "fine": fine,
        "values": plain(values),
    }
