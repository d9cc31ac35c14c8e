"""The pages of the reference that are made from the code when the site is built: what is in them cannot be outdated.

They are written to `docs/reference/generated`, which is not kept.
"""

from __future__ import annotations

import pkgutil
import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import to_jsonable_python

import saeviz
import saeviz.testing
import saeviz.toolkit
import saeviz.values
from docs.contents import cell, described, listed
from saeviz.cli.explain import PAGES as ERRORS
from saeviz.config.schema import DEFAULT_USE, LISTS, OPTIONAL, SINGLE, RunSettings
from saeviz.contract.options import NEUTRAL, table_of
from saeviz.contract.specs import ROLES, ComponentSpec, ScorerSpec
from saeviz.discovery.manager import Manager
from saeviz.discovery.sources import PluginChoice
from saeviz.formats.toml import toml_value

FOLDER = Path(__file__).parent / "reference" / "generated"
PARTS = {
    "runs": "Runs and results",
    "roles": "Roles and capabilities",
    "specs": "Specs, options and context",
    "values": "Values",
    "errors": "Errors",
}
"""Pages of the Python interface, and what is on each."""
FIRST = {"Plan", "Run", "component", "compare", "open_run", "run"}
"""What most readers look for."""
KINDS = {bool: "true or false", int: "whole number", float: "number", str: "text", Path: "path"}


def pages() -> dict[str, str]:
    """All generated pages: their names and texts."""
    manager = Manager.discover(PluginChoice.parse([""], Path()))
    made = {"run-file": "\n".join(_run_file()), "hooks": "\n".join(_hooks())}
    made |= {f"components-{role}": "\n".join(_components(manager, role)) for role in ROLES}
    made |= {f"python-{part}": "\n".join(_python(part)) for part in PARTS}
    made |= {name: "\n".join(_modules(name)) for name in ("testing", "toolkit")}
    made |= {f"error-{name}": path.read_text(encoding="utf-8") for name, path in ERRORS.items()}
    return {f"{name}.md": f"{text}\n" for name, text in made.items()}


def write() -> None:
    """Write the pages; one that is as it was keeps its time, so that Sphinx reads it no more."""
    FOLDER.mkdir(exist_ok=True)
    made = pages()
    for path in FOLDER.iterdir():
        if path.name not in made:
            path.unlink()
    for name, text in made.items():
        path = FOLDER / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def _run_file() -> Iterator[str]:
    yield "# The run file\n"
    yield "A run file is TOML; paths in it are relative to the file. `saeviz init` writes one with every option of the"
    yield "default components, and `saeviz check` checks one. A value comes from the first of these that sets it: flags"
    yield "such as `--out`, `--set TABLE.OPTION=VALUE`, the environment (`SAEVIZ_TABLE__OPTION`), the run file, the"
    yield "default.\n"
    yield "## Tables\n"
    yield "| table | component | default | switched off with |"
    yield "|---|---|---|---|"
    for table in SINGLE:
        role = {"second_embeddings": "embeddings"}.get(table, table)
        default = f"`{DEFAULT_USE[table]}`" if table in DEFAULT_USE else "none"
        none = '`use = "none"`' if table in OPTIONAL and table in DEFAULT_USE else ""
        yield f"| `[{table}]` | [{role}](components-{role}.md) | {default} | {none} |"
    yield '| `[judge]` | [labeler](components-labeler.md); `"labeler"` is the run\'s own | none | |'
    for table, (role, defaults) in LISTS.items():
        yield f"| `[[{table}]]` | [{role}](components-{role}.md), any number | {listed(defaults)} | |"
    yield "| `[[extractors]]` | several [extractors](components-extractor.md) instead of `[extractor]` | | |"
    yield "| `[plugins]` | `use`: plugins to use, as in `--plugins` and `SAEVIZ_PLUGINS`, which add to them | | |\n"
    yield "`use` names the component, and the other keys are its options. In `[[scorers]]`, `name` is a prefix of the"
    yield "columns; in `[[extractors]]`, a prefix of the spaces.\n"
    yield "## [run]\n"
    yield from _options(RunSettings)


def _components(manager: Manager, role: str) -> Iterator[str]:
    table = next((f"[[{name}]]" for name, (of, _) in LISTS.items() if of == role), f"[{role}]")
    yield f"# Components: {role}\n"
    hook = ROLES[role].hook
    yield f"A run file chooses one with `{table}`, and a plugin offers one with the hook [`{hook}`](hooks.md)."
    for name in manager.names(role):
        spec = manager.offer(role, name).spec
        yield f"\n## {name}\n"
        yield f"{cell(spec.summary)}.\n"
        if spec.needs:
            yield f"Needs {listed(spec.needs)}: `pip install '{spec.install}'`.\n"
        yield from _options(spec.options)
        yield from _columns(spec)


def _options(model: type[BaseModel]) -> Iterator[str]:
    rows = list(_rows(model))
    if not rows:
        yield "It has no options."
        return
    yield "| option | | default |\n|---|---|---|"
    yield from rows


def _rows(model: type[BaseModel], before: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        what = cell(field.description or "")
        changes = "; does not affect results" if NEUTRAL.is_on(field) else ""
        yield f"| `{before}{name}` | {what} ({_kind(field)}{changes}) | {_default(field)} |"
        if (table := table_of(field)) is not None:
            yield from _rows(table, f"{before}{name}.")


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    return "none" if value is None else f"`{toml_value(to_jsonable_python(value, fallback=str))}`"


def _kind(field: FieldInfo) -> str:
    """What an option takes, and between which limits."""
    signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    limits = [
        f"{signs[name]} {getattr(mark, name)}" for mark in field.metadata for name in signs if hasattr(mark, name)
    ]
    return " ".join([_type(field.annotation), *([", ".join(limits)] if limits else [])])


def _type(kind: Any) -> str:
    origin, inside = get_origin(kind), [one for one in get_args(kind) if one not in (type(None), Ellipsis)]
    if origin is Annotated:
        return _type(inside[0])
    if origin in (Union, UnionType):
        return " or ".join(dict.fromkeys(_type(one) for one in inside))
    if origin is Literal:
        return ", ".join(f"`{toml_value(one)}`" for one in inside)
    if origin in (tuple, list, frozenset):
        return f"list of: {_type(inside[0])}"
    if kind is SecretStr:
        return '`{ env = "VARIABLE" }`'
    return KINDS.get(kind, "table")


def _columns(spec: ComponentSpec) -> Iterator[str]:
    """Its columns, and those of all pairs if it gives any."""
    pairs = spec.pair_infos if isinstance(spec, ScorerSpec) else ()
    for head, infos in (("column", spec.infos), ("column of `pairs`", pairs)):
        if infos:
            yield ""
            yield from described(head, infos)


def _hooks() -> Iterator[str]:
    yield "# The hooks\n"
    yield "A hook is a function without arguments that yields specs. Each is shown with an example.\n"
    yield "```{eval-rst}\n.. automodule:: saeviz.contract.hookspecs"
    yield "   :members:\n   :member-order: bysource\n   :exclude-members: hookspec, hookimpl\n```"


def part_of(name: str) -> str:
    """The page of a public name."""
    home = getattr(getattr(saeviz, name), "__module__", "")
    if home == "saeviz.values.errors":
        return "errors"
    if home.startswith(("saeviz.api", "saeviz.results", "saeviz.comparison", "saeviz.pipeline")):
        return "runs"
    if home in {"saeviz.contract.specs", "saeviz.contract.options", "saeviz.contract.context"} or name.isupper():
        return "specs"
    return "roles" if home.startswith("saeviz.contract") else "values"


def _python(part: str) -> Iterator[str]:
    yield f"# {PARTS[part]}\n"
    yield "```{eval-rst}"
    for name in sorted(saeviz.__all__, key=lambda name: name not in FIRST):
        if part_of(name) == part:
            thing = getattr(saeviz, name)
            kind = "class" if isinstance(thing, type) else "function" if hasattr(thing, "__code__") else "data"
            yield f".. auto{kind}:: {_home_of(name) if kind == 'data' else 'saeviz'}.{name}"
            if kind == "class":
                yield "   :members:\n   :member-order: bysource"
            if kind == "data":
                yield "   :no-value:"
            yield ""
    yield "```"


def _home_of(name: str) -> str:
    """The module that assigns a public name: Sphinx finds what is said of it only there."""
    for module in [*_below(saeviz.values), "saeviz.contract.context", "saeviz.contract.options"]:
        source = find_spec(module)
        if source and source.origin and re.search(rf"^{name}\b.* = ", Path(source.origin).read_text("utf-8"), re.M):
            return module
    return "saeviz"


def _modules(name: str) -> Iterator[str]:
    package = {"toolkit": saeviz.toolkit, "testing": saeviz.testing}[name]
    yield f"# saeviz.{name}\n"
    if name == "testing":
        yield from _checks()
    for module in [package.__name__, *_below(package)]:
        if module != package.__name__:
            yield f"## {module}\n"
        yield f"```{{eval-rst}}\n.. automodule:: {module}"
        yield "   :members:\n   :member-order: bysource"
        yield "   :show-inheritance:\n   :exclude-members: model_config\n```\n"


def _checks() -> Iterator[str]:
    """Of each contract suite the checks that not every component gets."""
    from saeviz.testing.contract import NEEDS, checks_of

    yield "## Which checks are made\n"
    yield "A suite makes its checks for every component of the role. For each optional capability of the class in"
    yield "`component` it adds those below. `pytest --collect-only -q` lists the checks of your component.\n"
    yield "| suite | with | checks |"
    yield "|---|---|---|"
    for suite in [name for name in saeviz.testing.__all__ if name.endswith("Contract")]:
        made: dict[str, list[str]] = {}
        for name, check in checks_of(getattr(saeviz.testing, suite)).items():
            if need := NEEDS.get(check):
                declared = [f"`{' or '.join(need.declared)}` of the suite"] if need.declared else []
                capability = [f"`saeviz.{need.capability.__name__}`"] if need.capability else []
                made.setdefault(" and ".join(capability + declared), []).append(
                    name.removeprefix("test_").replace("_", " ")
                )
        for what, sentences in sorted(made.items()):
            yield f"| `{suite}` | {what} | {'; '.join(sentences)} |"
    yield ""


def _below(package: Any) -> list[str]:
    """The public modules of a package that can be imported without pytest and heavy packages."""
    found = pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    return [one.name for one in found if not any(part.startswith("_") for part in one.name.split("."))]
