"""Merge layers of settings into one validated configuration; all mistakes are reported together."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from saeviz.config.columns import double_columns, extractor_name_mistake, name_mistake
from saeviz.config.layers import Layer, _number
from saeviz.config.schema import (
    DEFAULT_USE,
    EXTRACTORS,
    JUDGED_BY_ITSELF,
    LISTS,
    OPTIONAL,
    ROLE_OF,
    SINGLE,
    TABLES,
    ComponentConfig,
    RunConfig,
    RunSettings,
)
from saeviz.contract.options import Options, path_fields, secret_fields, table_of
from saeviz.contract.specs import LabelerSpec, ScorerSpec
from saeviz.discovery.foreign import foreign_code
from saeviz.discovery.manager import Manager, install_of, missing_needs
from saeviz.discovery.mistakes import explain, suggest
from saeviz.formats.objects import is_address
from saeviz.formats.paths import absolute, exists
from saeviz.formats.plain import one_line, shortened
from saeviz.values.errors import ConfigError


def resolve(
    layers: Sequence[Layer],
    manager: Manager,
    environment: Mapping[str, str] = os.environ,
    secrets_of: Collection[str] | None = None,
) -> RunConfig:
    """The validated configuration; later layers override earlier ones. Raises one `ConfigError` with every mistake.

    With `secrets_of`, the secrets of other tables are not read, and their variables need not be set.
    """
    return _Resolver(layers, manager, environment, secrets_of).resolve()


class _Resolver:
    def __init__(
        self,
        layers: Sequence[Layer],
        manager: Manager,
        environment: Mapping[str, str],
        secrets_of: Collection[str] | None = None,
    ) -> None:
        self.layers = layers
        self.manager = manager
        self.environment = environment
        self.secrets_of = secrets_of
        self.mistakes: list[str] = []

    def resolve(self) -> RunConfig:
        for layer in self.layers:
            for name in layer.tables:
                if name not in TABLES:
                    hint = suggest(name, TABLES) or f"; there are: {', '.join(TABLES)}"
                    self.mistakes.append(f"{layer.name}: unknown table [{shortened(name)}]{hint}")
        run = self._run_settings()
        single = {table: self._component(ROLE_OF.get(table, table), table, self._tables(table)) for table in SINGLE}
        judge = self._judge(single["labeler"])
        extractors = self._extractors(single.pop("extractor"))
        several = {name: self._components(name, *LISTS[name]) for name in LISTS}
        if single["embeddings"] is None and not any(one.startswith("embeddings") for one in self.mistakes):
            if single["second_embeddings"]:
                self.mistakes.append("second_embeddings: needs a first embedding; configure [embeddings]")
            several["scorers"] = self._without_embeddings(several["scorers"])
        if run.rating_images and judge is None and not self.mistakes:
            self.mistakes.append("run.rating_images: this run has no judge to score labels; add [judge], or remove it")
        self.mistakes += double_columns(several["scorers"], self.manager)
        if self.mistakes:
            raise ConfigError("\n".join(self.mistakes))
        return RunConfig(run=run, judge=judge, extractors=extractors, **single, **several)  # type: ignore[arg-type]

    def settings(self) -> RunSettings:
        found = self._run_settings()
        if self.mistakes:
            raise ConfigError("\n".join(self.mistakes))
        return found

    def one(self, role: str, place: str) -> ComponentConfig:
        found = self._component(role, place, self._tables(place))
        if self.mistakes or found is None:
            raise ConfigError("\n".join(self.mistakes) or f"{place}: say which {role}")
        return found

    def extractors(self) -> tuple[ComponentConfig, ...]:
        found = self._extractors(self._component("extractor", "extractor", self._tables("extractor")))
        if self.mistakes:
            raise ConfigError("\n".join(self.mistakes))
        return found

    def _tables(self, name: str) -> list[tuple[Mapping[str, Any], Path]]:
        found = []
        for layer in self.layers:
            table = layer.tables.get(name, {})
            if isinstance(table, Mapping):
                found.append((table, layer.base))
            else:
                self.mistakes.append(f"{layer.name}: [{name}] must be a table")
        return found

    def _run_settings(self) -> RunSettings:
        values = self._values(self._tables("run"), RunSettings, "run")
        try:
            return RunSettings.model_validate(values)
        except ValidationError as error:
            self.mistakes += explain(error, RunSettings, "run")
            return RunSettings()

    def _judge(self, labeler: ComponentConfig | None) -> ComponentConfig | None:
        """The judge of the labels: from [judge], else the labeler itself if that costs nothing, else None."""
        tables = self._tables("judge")
        use, chosen = _last_choice(tables, None)
        if not any(table for table, _ in tables):
            return labeler if labeler is not None and self._judges_itself(labeler) else None
        if use == JUDGED_BY_ITSELF:
            if any(set(table) - {"use"} for table, _ in chosen):
                self.mistakes.append("judge: put options of the labeler itself into [labeler]")
            judge = labeler
        else:
            judge = self._component("labeler", "judge", tables)
        if labeler is None and use != "none" and not self.mistakes:
            self.mistakes.append("judge: this run has no labeler, so there are no labels to judge; remove [judge]")
        return judge

    def _judges_itself(self, labeler: ComponentConfig) -> bool:
        spec = self.manager.offer("labeler", labeler.use).spec
        return isinstance(spec, LabelerSpec) and spec.judges_itself

    def _extractors(self, single: ComponentConfig | None) -> tuple[ComponentConfig, ...]:
        """Those of [[extractors]], each with a name of its own, else the one of [extractor]."""
        found = self._components(EXTRACTORS, "extractor", ())
        if not found and not any(layer.tables.get(EXTRACTORS) for layer in self.layers):
            return () if single is None else (single,)
        if any(layer.tables.get("extractor") for layer in self.layers):
            self.mistakes.append("extractor: a run has either [extractor] or [[extractors]]; remove one of them")
        names = [config.name for config in found]
        for number, config in enumerate(found):
            if not config.name and not any(one.startswith(f"{config.place}.name: ") for one in self.mistakes):
                self.mistakes.append(f'{config.place}: give it a name, for example name = "text"')
            elif config.name and config.name in names[:number]:
                self.mistakes.append(f"{config.place}.name: another extractor is called {config.name!r} as well")
        return found

    def _components(self, name: str, role: str, defaults: Sequence[str]) -> tuple[ComponentConfig, ...]:
        entries: list[list[tuple[Mapping[str, Any], Path]]] = [[({"use": use}, Path())] for use in defaults]
        for layer in self.layers:
            given = layer.tables.get(name)
            if isinstance(given, Mapping):  # scorers.0.alpha=0.1 changes one entry
                for number, table in given.items():
                    place = _number(number, len(entries))
                    if place is not None and isinstance(table, Mapping):
                        entries[place].append((table, layer.base))
                    else:
                        last = f"; the last one is {name}.{len(entries) - 1}" if entries else ""
                        self.mistakes.append(f"{layer.name}: {name}.{one_line(number)} does not exist{last}")
            elif isinstance(given, list) and all(isinstance(table, Mapping) for table in given):
                entries = [[(table, layer.base)] for table in given]
            elif given is not None:
                self.mistakes.append(f"{layer.name}: write [[{name}]], a list of tables")
        found = [self._component(role, f"{name}.{number}", tables) for number, tables in enumerate(entries)]
        return tuple(config for config in found if config is not None)

    def _component(
        self, role: str, place: str, tables: Sequence[tuple[Mapping[str, Any], Path]]
    ) -> ComponentConfig | None:
        given = tables
        use, tables = _last_choice(given, DEFAULT_USE.get(place))
        if (use is None and not any(table for table, _ in tables)) or (use == "none" and place in OPTIONAL):
            return None
        if not isinstance(use, str):
            self.mistakes.append(f'{place}: name a component, for example use = "{self._example(role)}"')
            return None
        try:
            offer = self.manager.offer(role, use, place)
        except ConfigError as error:
            self.mistakes.append(str(error))
            return None
        model = offer.spec.options
        values = self._values(tables, model, place)
        values.pop("use", None)
        name = self._name(values, model, place) if role == "scorer" or place.startswith(f"{EXTRACTORS}.") else ""
        secrets = self._secrets(values, model, place)
        with foreign_code(f"{place}: {use} of {offer.source}: the check of its options fails"):
            try:
                return ComponentConfig(role, place, use, model.model_validate(values), secrets, name)
            except ValidationError as error:
                missing = {str(one["loc"][0]) for one in error.errors() if one["type"] == "missing" and one["loc"]}
                dropped = {name for table, _ in given[: len(given) - len(tables)] for name in table}
                self.mistakes += explain(error, model, place)
                self.mistakes += [
                    f"{place}.{name}: the one that is set is of another component; set it for {use}, too"
                    for name in sorted(missing & dropped)
                ]
        return None

    def _values(
        self, tables: Sequence[tuple[Mapping[str, Any], Path]], model: type[BaseModel], place: str
    ) -> dict[str, Any]:
        """The merged options of all tables, with absolute paths; later tables override earlier ones."""
        values: dict[str, Any] = {}
        for table, base in tables:
            for name, value in table.items():
                try:
                    values |= _with_paths({name: value}, model, base)
                except ConfigError as error:
                    self.mistakes.append(f"{place}.{name}: {error}")
        return values

    def _name(self, values: dict[str, Any], model: type[Options], place: str) -> str:
        """The `name` of a [[scorers]] or [[extractors]] table, '' if it has none or if `name` is an option."""
        if "name" not in values or "name" in model.model_fields:
            return ""
        name = values.pop("name")
        mistake = name_mistake(name) if place.startswith("scorers") else extractor_name_mistake(name)
        if mistake:
            self.mistakes.append(f"{place}.name: {mistake}")
            return ""
        return str(name)

    def _without_embeddings(self, scorers: tuple[ComponentConfig, ...]) -> tuple[ComponentConfig, ...]:
        """Remove default scorers that need embeddings; if the run file lists such a scorer, report a mistake."""
        kept = []
        for config in scorers:
            spec = self.manager.offer("scorer", config.use).spec
            if not (isinstance(spec, ScorerSpec) and spec.needs_embeddings):
                kept.append(config)
            elif any("scorers" in layer.tables for layer in self.layers):
                self.mistakes.append(
                    f"{config.place}: {config.use} needs embeddings and this run has none; "
                    "configure [embeddings] or remove the scorer"
                )
        return tuple(kept)

    def _example(self, role: str) -> str:
        return next(iter(self.manager.names(role)), "...")

    def _secrets(self, values: dict[str, Any], model: type[Options], place: str) -> dict[str, str]:
        """Replace references to secrets by values from the environment, and return the variables' names by option."""
        names = {}
        for name in secret_fields(model):
            if values.get(name) is None:
                continue
            given = values.pop(name)
            if not (isinstance(given, Mapping) and set(given) == {"env"} and isinstance(given["env"], str)):
                self.mistakes.append(f'{place}.{name}: do not write a secret here; give {{ env = "VARIABLE" }}')
            elif self.secrets_of is not None and place.partition(".")[0] not in self.secrets_of:
                values[name], names[name] = f"the value of {given['env']}", given["env"]
            elif not self.environment.get(given["env"]):
                self.mistakes.append(f"{place}.{name}: the environment variable {given['env']} is not set")
            else:
                values[name] = self.environment[given["env"]]
                names[name] = given["env"]
        return names


def resolve_component(
    role: str, place: str, layers: Sequence[Layer], manager: Manager, environment: Mapping[str, str] = os.environ
) -> ComponentConfig:
    """One validated component from the tables `place` of the layers. Raises `ConfigError` like `resolve`."""
    return _Resolver(layers, manager, environment).one(role, place)


def resolve_extractors(
    layers: Sequence[Layer], manager: Manager, environment: Mapping[str, str] = os.environ
) -> tuple[ComponentConfig, ...]:
    """The validated extractors of the tables `[extractor]` or `[[extractors]]`. Raises as `resolve`."""
    return _Resolver(layers, manager, environment).extractors()


def resolve_settings(layers: Sequence[Layer], manager: Manager) -> RunSettings:
    """The `[run]` table of the layers alone. Raises `ConfigError` like `resolve`."""
    return _Resolver(layers, manager, {}).settings()


def check_needs(config: RunConfig, manager: Manager) -> None:
    """Raise one `ConfigError` that lists every missing package of the run's components, without importing any."""
    lacking = []
    for component in config.components():
        spec = manager.offer(component.role, component.use).spec
        missing = missing_needs(spec)
        if missing:
            lacking.append(
                f"{component.place}: {component.use} needs {', '.join(missing)}, which is not installed: "
                f"pip install '{install_of(spec)}'"
            )
    if lacking:
        raise ConfigError("\n".join(lacking))


def _last_choice(
    tables: Sequence[tuple[Mapping[str, Any], Path]], default: str | None
) -> tuple[Any, list[tuple[Mapping[str, Any], Path]]]:
    """The component in use, and its tables; the options of a component that a later layer replaced are dropped."""
    use: Any = default
    kept: list[tuple[Mapping[str, Any], Path]] = []
    for table, base in tables:
        if "use" in table and table["use"] != use:
            use = table["use"]
            kept = []
        kept.append((table, base))
    return use, kept


def _with_paths(values: Mapping[str, Any], model: type[BaseModel], base: Path) -> dict[str, Any]:
    """The options with absolute paths; where an option lists tables, those of each table."""
    always, found = path_fields(model), dict(values)
    for name in always.keys() & values.keys():
        value, table = values[name], table_of(model.model_fields[name])
        if table is not None and isinstance(value, list):
            found[name] = [_with_paths(one, table, base) if isinstance(one, Mapping) else one for one in value]
        else:
            found[name] = _absolute(value, base, always=always[name])
    return found


def _absolute(value: Any, base: Path, *, always: bool) -> Any:
    if isinstance(value, Mapping):
        return {key: _absolute(entry, base, always=always) for key, entry in value.items()}
    if isinstance(value, list):
        return [_absolute(entry, base, always=always) for entry in value]
    if not isinstance(value, str) or not value or is_address(value):
        return value
    if always or value.startswith((".", "~")):
        return str(absolute(value, base))
    try:  # not a path: perhaps a hub id
        return str(absolute(value, base)) if exists(base / value) else value
    except (ConfigError, OSError):
        return value
