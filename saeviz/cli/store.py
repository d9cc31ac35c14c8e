"""`saeviz store`: list the contents of a store, and copy its features to another one."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from functools import partial
from typing import Any

import click

from saeviz.cli.common import granted, log_to_stderr, reading_options, say, say_json, tell, tell_problems
from saeviz.config.schema import ComponentConfig
from saeviz.formats.rundir import RunDir
from saeviz.formats.toml import toml_value
from saeviz.pipeline.progress import watched
from saeviz.stores.copying import Copied, Part, copy_features
from saeviz.stores.places import Place, Places
from saeviz.stores.same_store import is_same_store
from saeviz.values.errors import ConfigError, ExitCode

set_option = click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="KEY=VALUE",
    help="Set an option of a store, for example to.layout=item (repeatable).",
)


@click.group()
def store() -> None:
    """Inspect feature stores and copy from one to another."""


@store.command()
@click.argument("source", metavar="FROM")
@click.argument("target", metavar="TO")
@set_option
@reading_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("-q", "--quiet", is_flag=True, help="Print only warnings.")
def copy(source: str, target: str, assignments: tuple[str, ...], as_json: bool, quiet: bool, **grants: Any) -> int:
    """Copy all features FROM one store TO another and verify the copy.

    A store is a run directory, a run file, or NAME:PATH such as npz:features; give its options with --set
    from.OPTION=VALUE and --set to.OPTION=VALUE. An interrupted copy resumes where it stopped. A run whose features were
    copied can use the copy from then on.
    """
    log_to_stderr(quiet=quiet)
    places = Places(granted(**grants), assignments, "from", "to")
    origin = places.source(source)
    copy_to = places.target(target, origin.rundir.features if origin.rundir else None)
    for place in (origin, copy_to):
        tell_problems(place.manager)
    if origin.rundir:
        origin.rundir.refuse_changes()
    if is_same_store(origin, copy_to):
        raise ConfigError(f"{origin} would be copied onto itself; give the copy another folder")
    with origin.rundir.locked() if origin.rundir else nullcontext():
        copied = _copy(origin, copy_to)
        if origin.rundir is not None:
            _accept(origin.rundir, copy_to.config)
    _tell(copied, copy_to, as_json=as_json)
    if origin.rundir is not None and not quiet:
        tell(f"to use the copy from now on, add this to the run file\n{_table(copy_to.config)}")
    return ExitCode.DONE


@store.command()
@click.argument("source", metavar="STORE")
@set_option
@reading_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def info(source: str, assignments: tuple[str, ...], as_json: bool, **grants: Any) -> int:
    """List the feature spaces of STORE and the number of items in each."""
    log_to_stderr(quiet=True)
    place = Places(granted(**grants), assignments, "store").source(source, "store")
    tell_problems(place.manager)
    opened = place.open()
    try:
        found = [
            {"space": str(space), "n_features": space.n_features, "items": len(opened.item_ids(space))}
            for space in opened.spaces()
        ]
    finally:
        opened.close()
    if as_json:
        say_json({"store": str(place), "spaces": found})
    else:
        say(place)
        for space in found:
            say(f"{space['space']}: {space['items']} items, {space['n_features']} features")
    return ExitCode.DONE


def _copy(origin: Place, copy_to: Place) -> list[Copied]:
    opened = origin.open()
    try:
        # The store may have items that are no longer part of the run: removed or now unreadable images.
        source = Part(opened, origin.rundir.extracted_ids()) if origin.rundir else opened
        return copy_features(source, copy_to.open, partial(watched, as_bar=sys.stderr.isatty()))
    finally:
        opened.close()


def _accept(rundir: RunDir, config: ComponentConfig) -> None:
    """Record the copy in the manifest, so that the run accepts it as its store until either is written to."""
    manifest = rundir.read_manifest()
    record = manifest["stages"]["extract"]
    record["copies"] = [*(copy for copy in record.get("copies", []) if copy != config.identity()), config.identity()]
    rundir.write_manifest(manifest)


def _tell(copied: list[Copied], copy_to: Place, *, as_json: bool) -> None:
    if as_json:
        spaces = [{"space": str(part.space), "items": part.items, "written": part.written} for part in copied]
        say_json({"store": str(copy_to), "verified": True, "spaces": spaces}, indent=None)
        return
    for part in copied:
        say(f"{part.space}: {part.items} items, {part.written} of them written now, all verified")


def _table(config: ComponentConfig) -> str:
    """The `[store]` table of a run file, without options that have their default value."""
    fields = type(config.options).model_fields
    defaults = {name: field.get_default(call_default_factory=True) for name, field in fields.items()}
    options = {name: value for name, value in config.as_json().items() if value != defaults.get(name)}
    return "\n".join(["[store]", *(f"{name} = {toml_value(value)}" for name, value in options.items())])
