"""A whole tiny run around one component: all others are fakes, so that it takes a moment and needs no model."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from saeviz.api import Prepared, execute
from saeviz.config.layers import Layer, assignment_layer
from saeviz.config.resolve import check_needs, resolve
from saeviz.contract.hookspecs import hookimpl
from saeviz.contract.specs import ComponentSpec
from saeviz.discovery.manager import Manager
from saeviz.discovery.sources import PluginChoice, Source
from saeviz.pipeline.run import Plan
from saeviz.results.run import Run
from saeviz.values.errors import ConfigError, PluginError

FAKES_ONLY = ("module:saeviz.testing.fakes", "")
"""Of plugins that are not bundled; the one under test may be installed, too."""
TINY: Mapping[str, Any] = {
    "run": {"cache": False, "offline": True},
    "images": {"use": "fake-images", "n": 12},
    "extractor": {"use": "fake-extractor"},
    "embeddings": {"use": "fake-embeddings"},
    "scorers": [{"use": "fake-scorer"}],
    "selector": {"use": "fake-selector"},
    "labeler": {"use": "fake-labeler"},
    "reporters": [{"use": "fake-reporter"}],
}
"""The run file of a tiny run."""


def run_with(
    plugin: ComponentSpec | object, folder: str | Path, *, use: str = "", settings: Sequence[str] = (), **options: Any
) -> Run:
    """Run 12 drawn pictures through fakes and one component, in the run directory `folder`, and return the run.

    ::

        spec = saeviz.ScorerSpec(name="coverage", summary="share of images", factory=Coverage)
        saeviz.testing.run_with(spec, tmp_path / "run").scores["coverage"]

    `plugin` is a spec, or what has the hooks of a plugin, such as its module; of several components `use` is the name
    of the one to run with. `options` are its options. `settings` change the run as `--set` does, such as
    `images.n=40`. Raises what `saeviz.run` raises, and `PluginError` for a plugin that would be left out.
    """
    manager = Manager.discover(PluginChoice.parse(FAKES_ONLY, Path.cwd()))
    source = next((known for known in manager.sources if known.load() is plugin), None)
    if source is None:
        source = _source(plugin)
        manager.add(source)
    if broken := [problem for problem in manager.problems if problem.source.name == source.name]:
        raise PluginError(str(broken[0]))
    spec = _chosen(manager, source, use)
    table = {"use": spec.name, **options}
    own = {f"{spec.role}s": [table]} if f"{spec.role}s" in TINY else {spec.role: table}
    base = Path.cwd()
    tiny = {**TINY, "run": {**TINY["run"], "dir": os.fspath(Path(folder).absolute())}, **own}
    layers = [Layer(tiny, base, "the tiny run"), assignment_layer(settings, base)]
    config = resolve(layers, manager)
    check_needs(config, manager)
    return execute(Prepared(config, manager, Path(folder)), Plan())


def _source(plugin: object) -> Source:
    if isinstance(plugin, ComponentSpec):
        module = ModuleType(plugin.name)
        setattr(module, plugin.hook, hookimpl(_hook_of(plugin)))
        return Source(
            f"{plugin.role}-{plugin.name}", "given to run_with", "in-house", bundled=False, load=lambda: module
        )
    name = getattr(plugin, "__name__", type(plugin).__name__)
    return Source(name, "given to run_with", "in-house", bundled=False, load=lambda: plugin)


def _hook_of(spec: ComponentSpec) -> Any:
    def offers() -> list[ComponentSpec]:
        return [spec]

    return offers


def _chosen(manager: Manager, source: Source, use: str) -> ComponentSpec:
    """The component of a plugin to run with; raises `ConfigError` if it is not clear which."""
    specs = [offer.spec for offer in manager.offers.values() if offer.source.name == source.name]
    found = [spec for spec in specs if use in ("", spec.name)]
    if len(found) != 1:
        known = ", ".join(f"{spec.role} {spec.name!r}" for spec in specs)
        raise ConfigError(f"{source} offers {known}; say use=NAME for the one to run with")
    return found[0]
