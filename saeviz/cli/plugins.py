"""`saeviz plugins`: list components, where they come from, and why a plugin was skipped."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from importlib.metadata import distribution
from importlib.resources import files
from pathlib import Path
from typing import Any

import click
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import to_jsonable_python

from saeviz.api import choose_plugins
from saeviz.cli.common import chosen, plugins_option, say, say_json, tell
from saeviz.config.layers import environment_layer, read_run_file
from saeviz.config.resolve import resolve
from saeviz.contract.options import table_of
from saeviz.contract.specs import ROLES, ComponentSpec, ScorerSpec
from saeviz.discovery.extensions import GROUPS, Extension, extensions
from saeviz.discovery.foreign import foreign_code
from saeviz.discovery.manager import Manager, Offer, Problem, install_of, missing_needs
from saeviz.discovery.metadata import unread_groups, where
from saeviz.discovery.requirements import distribution_of, requirements_of
from saeviz.discovery.sources import Source
from saeviz.formats.plain import safe
from saeviz.formats.toml import toml_value
from saeviz.values.columns import ColumnInfo
from saeviz.values.errors import ConfigError, ExitCode, PluginError

AS_REQUESTED = "as requested"
"""Why a plugin that the user excluded is left out."""


@click.command()
@click.argument("component", required=False, metavar="[ROLE:NAME | RUN_FILE]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--verbose", "-v", is_flag=True, help="Print the tracebacks of broken plugins.")
@click.option(
    "--requirements", is_flag=True, help="Print requirements for pip: those of RUN_FILE, or of all installed plugins."
)
@click.option("--check", is_flag=True, help="Also import the module of every component.")
@click.option("--sql", is_flag=True, help="Print only the SQL that creates the tables of a component.")
@plugins_option
def plugins(
    component: str | None,
    as_json: bool,
    verbose: bool,
    requirements: bool,
    check: bool,
    sql: bool,
    plugin_words: tuple[str, ...],
) -> int:
    """List all components and the plugins that they come from, or the options of one component."""
    if requirements:
        for line in _requirements(component, chosen(plugin_words)):
            say(line)
        return ExitCode.DONE
    manager = Manager.discover(choose_plugins(chosen(plugin_words), []), strict=False)
    if sql:
        click.echo(safe(_sql_of(_find(manager, component or ""))), nl=False)
        return ExitCode.DONE
    if component:
        _show_one(manager, component, as_json=as_json)
        return ExitCode.DONE
    failing, unread = _failing(manager) if check else {}, list(unread_groups())
    if as_json:
        say_json({**_listing(manager, failing), "unread": unread})
    else:
        _show_all(manager, verbose=verbose)
        for reason in (*failing.values(), *unread):
            tell(reason)
    broken = any(extension.reason for extension in _extensions())
    return ExitCode.PLUGIN if manager.problems or failing or unread or broken else ExitCode.DONE


def _extensions() -> list[Extension]:
    """What packages add besides plugins."""
    return [extension for group in GROUPS for extension in extensions(group)]


def _requirements(run_file: str | None, words: Sequence[str] | None) -> list[str]:
    """Of the components of a run file; without one, of all third-party plugins and all components that could run.

    Packages that add formats of SAEs or known SAEs are there in both cases.
    """
    if run_file is None:
        manager = Manager.discover(choose_plugins(words, []), strict=False)
        able = (offer for offer in manager.offers.values() if not missing_needs(offer.spec))
        return requirements_of(able, _extensions())
    layer = read_run_file(Path(run_file))
    manager = Manager.discover(choose_plugins(words, [layer]), strict=False)
    config = resolve([layer, environment_layer(os.environ, Path.cwd())], manager, secrets_of=())
    return requirements_of((manager.offer(one.role, one.use) for one in config.components()), _extensions())


def _failing(manager: Manager) -> dict[str, str]:
    found = {}
    for (role, name), offer in manager.offers.items():
        try:
            manager.factory(offer)
        except PluginError as error:
            found[f"{role}:{name}"] = str(error)
    return found


def _show_all(manager: Manager, *, verbose: bool) -> None:
    width = max((len(name) for _, name in manager.offers), default=0)
    for role in ROLES:
        say(role)
        for name in manager.names(role):
            offer = manager.offer(role, name)
            from_whom = "" if offer.source.bundled else f"  [{offer.source.name}: {offer.source.origin}]"
            missing = missing_needs(offer.spec)
            lacks = f"  (lacks {', '.join(missing)}: pip install '{install_of(offer.spec)}')" if missing else ""
            say(f"  {name:{width}}  {offer.spec.summary}{from_whom}{lacks}")
    say("plugins")
    for source in manager.sources:
        if not source.bundled:
            say(f"  {source.name}  {_origin(source)}: {', '.join(_offered(manager, source))}")
    say(f"  {sum(source.bundled for source in manager.sources)} bundled with saeviz, {where(distribution('saeviz'))}")
    for title in dict.fromkeys(extension.title for extension in _extensions() if not extension.reason):
        say(f"{title}, by other packages")
        for extension in _extensions():
            if extension.title == title and not extension.reason:
                say(f"  {extension.name:{width}}  {extension.summary}  [{extension.origin}]")
    for source in manager.left_out:
        tell(f"{source} is left out, {AS_REQUESTED}")
    problems: list[Problem | Extension] = [
        *manager.problems,
        *(extension for extension in _extensions() if extension.reason),
    ]
    for problem in problems:
        hint = "; --verbose shows the traceback" if problem.details and not verbose else ""
        tell(f"{problem}{hint}")
        if problem.details and verbose:
            click.echo(textwrap.indent(safe(problem.details), "  "), err=True)


def _origin(source: Source) -> str:
    dist = distribution_of(source)
    return f"{source.origin}, {where(dist)}" if dist is not None else source.origin


def _offered(manager: Manager, source: Source) -> list[str]:
    return [f"{role}:{name}" for (role, name), offer in manager.offers.items() if offer.source is source]


def _listing(manager: Manager, failing: dict[str, str]) -> dict[str, Any]:
    return {
        "components": [
            {
                "role": role,
                "name": name,
                "summary": offer.spec.summary,
                "plugin": offer.source.name,
                "from": offer.source.origin,
                "bundled": offer.source.bundled,
                "missing": missing_needs(offer.spec),
                "install": install_of(offer.spec) if missing_needs(offer.spec) else None,
                "problem": failing.get(f"{role}:{name}"),
            }
            for (role, name), offer in manager.offers.items()
        ],
        "plugins": [
            {
                "plugin": source.name,
                "from": _origin(source),
                "bundled": source.bundled,
                "components": _offered(manager, source),
            }
            for source in manager.sources
        ],
        "extensions": [
            {"group": one.group, "name": one.name, "from": one.origin, "problem": one.reason or None}
            for one in _extensions()
        ],
        "left_out": [
            *({"plugin": source.name, "from": source.origin, "reason": AS_REQUESTED} for source in manager.left_out),
            *(
                {"plugin": problem.source.name, "from": problem.source.origin, "reason": problem.reason}
                for problem in manager.problems
            ),
        ],
    }


def _find(manager: Manager, component: str) -> Offer:
    role, separator, name = component.partition(":")
    if not separator:
        raise ConfigError(f"write ROLE:NAME, for example store:npz; the roles are {', '.join(ROLES)}")
    return manager.offer(role, name)


def _sql_of(offer: Offer) -> str:
    if not offer.spec.sql:
        raise ConfigError(f"the {offer.spec.role} {offer.spec.name} has no SQL; it needs no tables created by hand")
    package, _, path = offer.spec.sql.partition(":")
    try:
        return files(package).joinpath(path).read_text(encoding="utf-8")
    except (ImportError, OSError) as error:
        raise PluginError(
            f"the SQL of the {offer.spec.role} {offer.spec.name!r} of {offer.source} is missing"
        ) from error


def _show_one(manager: Manager, component: str, *, as_json: bool) -> None:
    offer = _find(manager, component)
    with foreign_code(f"the options of {component} cannot be shown, which fails"):
        schema = offer.spec.options.model_json_schema()
    notes = manager.notes(offer)
    if as_json:
        columns = {name: [asdict(one) for one in infos] for name, infos in _columns(offer.spec).items()}
        say_json({"role": offer.spec.role, "name": offer.spec.name, "options": schema, "notes": notes, **columns})
        return
    say(f"{offer.spec.role}:{offer.spec.name}  {offer.spec.summary}")
    say(f"from {offer.source}")
    options = list(_option_lines(offer.spec.options)) or ["  it has no options"]
    for name, infos in _columns(offer.spec).items():
        options += [name.replace("_", " "), *(f"  {one.name}: {one.words}" for one in infos)] if infos else []
    for line in (*options, *(("", *notes) if notes else ())):
        say(line)


def _columns(spec: ComponentSpec) -> dict[str, tuple[ColumnInfo, ...]]:
    """What it says of the columns that it gives."""
    return {"columns": spec.infos, "pair_columns": spec.pair_infos if isinstance(spec, ScorerSpec) else ()}


def _default(field: FieldInfo) -> str:
    """The default of an option, as written in a run file."""
    value = field.get_default(call_default_factory=True)
    return "none" if value is None else toml_value(to_jsonable_python(value, fallback=str))


def _option_lines(model: type[BaseModel], indent: str = "  ") -> Iterator[str]:
    """A line per option, and below one that lists tables the options of a table."""
    for name, field in model.model_fields.items():
        default = "required" if field.is_required() else f"default {_default(field)}"
        yield f"{indent}{name}: {field.description or ''} ({default})"
        table = table_of(field)
        if table is not None:
            yield from _option_lines(table, f"{indent}  {name}.")
