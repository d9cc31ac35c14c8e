"""Find the store named on a command line: by a run directory, a run file, or its name and path."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from saeviz.config.layers import Layer, assignment_layer, environment_layer, plugin_words, read_run_file
from saeviz.config.resolve import resolve, resolve_component
from saeviz.config.schema import Address, ComponentConfig
from saeviz.contract.context import Context
from saeviz.contract.options import secret_fields
from saeviz.contract.roles import missing_members
from saeviz.contract.stores import FeatureStore
from saeviz.discovery.manager import Manager
from saeviz.discovery.sources import PluginChoice
from saeviz.formats.objects import is_address
from saeviz.formats.rundir import RunDir
from saeviz.pipeline.reading import Grants, opened
from saeviz.values.errors import ConfigError, PluginError
from saeviz.values.regular import real_path

PLACES = ("path", "url")
"""The options that give the location of a store."""
FORMS = "a run directory, a run file, or NAME:PATH, for example npz:features"


@dataclass(frozen=True)
class Place:
    """One store: its configuration, and its folder unless its options give another location.

    `rundir` is the run whose features it has, `grants` what its reader lets it have where a run's manifest names it.
    """

    config: ComponentConfig
    manager: Manager
    workdir: Path
    rundir: RunDir | None = None
    grants: Grants | None = None

    def __str__(self) -> str:
        if not _has_place(self.config):
            return self.config.use
        given = [getattr(self.config.options, name, None) for name in PLACES]
        return f"{self.config.use}:{next((where for where in given if where is not None), self.workdir)}"

    def open(self) -> FeatureStore:
        """Open the store, a new instance with each call. Raises `PluginError` if the component is not a store."""
        config, context = self.config, Context(workdir=self.workdir, place=self.config.place)
        if self.grants is not None:
            self.grants.check(config)
            context = self.grants.context(context)
        store: FeatureStore = self.manager.build(config.role, config.use, config.options, context)
        lacking = missing_members(store, FeatureStore)
        if lacking:
            raise PluginError(f"{config.place}: the store {config.use!r} lacks {', '.join(lacking)}")
        return store


class Places:
    """Finds stores by the names that a user gives.

    `grants` is what a run that is named may have, its plugins are those of `--plugins`; `assignments` are those of
    `--set`, each for one of the places `names`.
    """

    def __init__(self, grants: Grants, assignments: Sequence[str], *names: str) -> None:
        self.grants = grants
        self.settings = assignment_layer(assignments, Path.cwd())
        wrong = [name for name in self.settings.tables if name not in names]
        if wrong:
            raise ConfigError(f"--set {wrong[0]}: write {' or '.join(f'{name}.OPTION=VALUE' for name in names)}")

    def source(self, text: str, place: str = "from") -> Place:
        """The store to read; for a run, the store with its features."""
        if _is_run_file(text):
            directory, config, manager = self._resolved(text)
            if directory is None or not (directory / "run.json").is_file():
                raise ConfigError(f"the run file {text} was never run: there is nothing in {directory}")
            rundir = RunDir.open(real_path(directory))
            if config.is_recorded_as(_stored(rundir)) and place not in self.settings.tables:
                return Place(config, manager, rundir.features, rundir)
            return self._run(rundir, place)
        if not is_address(text) and not (Path(text) / "run.json").is_file():
            return self._named(text, place)
        return self._run(opened(text if is_address(text) else real_path(Path(text))), place)

    def target(self, text: str, workdir: Path | None) -> Place:
        """The store to write to; for a run file, the one it configures.

        `workdir` is the folder of a store without a path.
        """
        if is_address(text) or (Path(text) / "run.json").is_file():
            raise ConfigError(
                f"{text} is a run, and only its own stages write to it; copy to a run file, or to NAME:PATH"
            )
        if not _is_run_file(text):
            return self._named(text, "to", workdir)
        directory, config, manager = self._resolved(text)
        if directory is None:
            raise ConfigError(f"run.dir: {text} does not say where the run goes")
        return Place(config, manager, RunDir(directory).features)

    def _run(self, rundir: RunDir, place: str) -> Place:
        stored = _stored(rundir)
        if stored is None:
            raise ConfigError(f"{rundir.place} has no features yet; `saeviz run` makes them")
        grants = replace(self.grants, secrets=(*self.grants.secrets, *_named_secrets(self.settings.tables.get(place))))
        manager, environment = grants.manager(rundir), grants.stand_ins()
        configured = rundir.config().get("store")  # has what the identity leaves out, a token for instance
        if not isinstance(configured, Mapping) or configured.get("use") != stored.get("use"):
            configured = stored
        config = self._component(manager, place, configured, environment)
        if not config.is_recorded_as(stored):
            config = self._component(manager, place, stored, environment)
        return Place(config, manager, rundir.features, rundir if config.is_recorded_as(stored) else None, grants)

    def _named(self, text: str, place: str, workdir: Path | None = None) -> Place:
        name, _, rest = text.partition(":")
        manager = self._manager()
        if not re.fullmatch(r"[a-z0-9][a-z0-9._-]*", name) or ("store", name) not in manager.offers:
            raise ConfigError(f"{name!r} is not a store; write {FORMS}; there are: {', '.join(manager.names('store'))}")
        table: dict[str, Any] = {"use": name}
        if rest:
            table[self._option_for(manager, name, rest)] = rest
        config = self._component(manager, place, table)
        if (
            workdir is None
            and getattr(config.options, "path", ...) is None
            and getattr(config.options, "url", None) is None
        ):
            raise ConfigError(f"say where the store is: {name}:PATH")
        return Place(config, manager, workdir or Path.cwd())

    def _option_for(self, manager: Manager, name: str, rest: str) -> str:
        model = manager.offer("store", name).spec.options
        option = "url" if "://" in rest and "url" in model.model_fields else "path"
        if option in secret_fields(model):
            raise ConfigError(
                f"{name}: its {option} may hold a password and is not written on a command line; put it into the "
                f"environment and give --set '{{from,to}}.{option}={{ env = \"VARIABLE\" }}'"
            )
        if option not in model.model_fields:
            raise ConfigError(f"{name}:{rest}: the store {name} has no {option}; write {name}")
        return option

    def _component(
        self, manager: Manager, place: str, table: Mapping[str, Any], environment: Mapping[str, str] = os.environ
    ) -> ComponentConfig:
        layers = [Layer({place: table}, Path.cwd(), place), self.settings]
        return resolve_component("store", place, layers, manager, environment)

    def _resolved(self, text: str) -> tuple[Path | None, ComponentConfig, Manager]:
        layers = [read_run_file(Path(text)), environment_layer(os.environ, Path.cwd())]
        manager = self._manager(plugin_words(layers))
        config = resolve(layers, manager)
        if isinstance(config.run.dir, Address):
            raise ConfigError(f"run.dir: the run of {text} is in an object store; name its store itself, as NAME:PATH")
        return config.run.dir, config.store, manager

    def _manager(self, of_run_file: tuple[Sequence[str], Path] | None = None) -> Manager:
        return Manager.discover(PluginChoice.of_all(self.grants.plugins, of_run_file))


def _stored(rundir: RunDir) -> Mapping[str, Any] | None:
    """The store with the features of a run, according to its manifest; None if there is none."""
    stored = rundir.read_manifest()["stages"].get("extract", {}).get("store")
    return stored if isinstance(stored, Mapping) else None


def _named_secrets(table: Any) -> list[str]:
    """The environment variables named in the user's `--set`."""
    values = table.values() if isinstance(table, Mapping) else ()
    return [str(value["env"]) for value in values if isinstance(value, Mapping) and set(value) == {"env"}]


def _has_place(config: ComponentConfig) -> bool:
    return any(hasattr(config.options, name) for name in PLACES)


def _is_run_file(text: str) -> bool:
    return text.endswith(".toml")
