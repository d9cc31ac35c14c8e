"""What the metadata of an installed distribution say of its plugins, before anything of them is imported."""

from __future__ import annotations

import ast
import importlib.util
import json
import re
from collections.abc import Iterator
from importlib.metadata import Distribution, EntryPoint, PackageNotFoundError, distributions, version
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement

from saeviz.contract.specs import SPEC_TYPES
from saeviz.discovery.mistakes import suggest
from saeviz.formats.plain import one_line, quoted

GROUP = "saeviz"
SAE_FORMATS = "saeviz.sae_formats"
KNOWN_SAES = "saeviz.known_saes"
GROUPS = (GROUP, SAE_FORMATS, KNOWN_SAES)
OTHER_NAMES = {
    GROUP: r"saeviz?[._-]?(plugins?|hooks?)",
    SAE_FORMATS: r"saeviz?[._-]?sae[._-]?formats?",
    KNOWN_SAES: r"saeviz?[._-]?known[._-]?saes?",
}
"""Names of groups that others may have taken for ours."""
HOOKS = [spec_type.hook for spec_type in SPEC_TYPES]


def mistake_before_import(entry_point: EntryPoint) -> str | None:
    """Why a plugin cannot work, as far as that can be known without running any of its code."""
    dist = entry_point.dist
    if dist is not None:
        for requirement in _requirements(dist):
            if requirement.name == "saeviz" and not _is_met(requirement):
                return (
                    f"made for {requirement}, but this is saeviz {version('saeviz')}; "
                    f"pip install --upgrade '{dist.name}' saeviz"
                )
    if not re.fullmatch(r"[A-Za-z_][\w.]*(\s*:\s*[\w.]+)?(\s*\[.*\])?", entry_point.value):
        return f"its entry point {quoted(entry_point.value)} is not a module; write {entry_point.name} = 'package'"
    top = entry_point.module.partition(".")[0]
    spec = _spec_of(top)
    if spec is None:
        return f"its module {quoted(top)} is not there{_instead(dist)}"
    return _misspelt_hook(Path(spec.origin)) if entry_point.module == top and spec.origin else None


def _instead(dist: Distribution | None) -> str:
    """What to do about a module that is not there: its author may have misspelt it, or the files are gone."""
    if dist is None:
        return "; install it again"
    files = [file for file in dist.files or () if file.suffix == ".py"]
    if modules := sorted({file.parts[0].removesuffix(".py") for file in files if Path(file.locate()).exists()}):
        has = ", ".join(map(quoted, modules))
        return f"; it has {has}: correct the entry point in pyproject.toml, and install it again"
    return f"; pip install --force-reinstall '{dist.name}'"


def missing_requirements(dist: Distribution | None) -> list[str]:
    """What a distribution requires and is not installed, or in another version."""
    needed = _requirements(dist) if dist is not None else ()
    return [str(requirement) for requirement in needed if not _is_met(requirement)]


def unread_groups() -> Iterator[str]:
    """In words, what nobody finds because its entry points are in a group of another name."""
    for dist in distributions():
        groups = {entry_point.group for entry_point in dist.entry_points}
        for group in sorted(groups):
            meant = next((known for known, names in OTHER_NAMES.items() if re.fullmatch(names, group)), None)
            if group not in GROUPS and meant is not None:
                yield one_line(
                    f"{dist.name} {dist.version} declares entry points in the group {quoted(group)}, which saeviz does "
                    f"not read; the group is called {meant!r}"
                )


def where(dist: Distribution) -> str:
    """Where a distribution was installed from, or else where it is."""
    url = direct_url(dist).get("url")
    return f"from {url}" if isinstance(url, str) and url else f"in {dist.locate_file('')}"


def direct_url(dist: Distribution) -> dict[str, object]:
    """How pip was told to get a distribution that is not from an index (`direct_url.json`); empty if it is."""
    try:
        found = json.loads(dist.read_text("direct_url.json") or "{}")
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _requirements(dist: Distribution) -> Iterator[Requirement]:
    """What a distribution requires here, without its extras."""
    for text in dist.requires or ():
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            continue  # pip has installed it
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            yield requirement


def _is_met(requirement: Requirement) -> bool:
    try:
        return requirement.specifier.contains(version(requirement.name), prereleases=True)
    except PackageNotFoundError:
        return False


def _spec_of(module: str) -> importlib.machinery.ModuleSpec | None:
    try:
        return importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return None


def _misspelt_hook(path: Path) -> str | None:
    """A function of a module that is marked as a hook and is none, by the text of the module."""
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError):
        return None  # importing it says what is wrong
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name not in HOOKS and any(map(_is_marker, node.decorator_list)):
            return f"it implements {node.name}, which is not a hook{suggest(node.name, HOOKS)}"
    return None


def _is_marker(decorator: ast.expr) -> bool:
    found = decorator.func if isinstance(decorator, ast.Call) else decorator
    return getattr(found, "attr", getattr(found, "id", "")) == "hookimpl"
