"""The run file: read, completed from environment and flags, checked against what the plugins declare."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, ValidationError

from saeviz.columns import double_columns, name_mistake
from saeviz.contract.context import Precision
from saeviz.contract.options import Options, neutral_fields, path_fields, secret_fields
from saeviz.contract.specs import LabelerSpec, ScorerSpec
from saeviz.discovery.manager import Manager, foreign_code, missing_needs
from saeviz.discovery.mistakes import explain, suggest
from saeviz.formats.paths import absolute, exists
from saeviz.formats.plain import one_line, quoted, shortened
from saeviz.formats.toml import check_values, parse_toml, read_toml
from saeviz.values.errors import ConfigError

DEFAULT_USE = {
    "images": "folder",
    "extractor": "clip-b32-prisma",
    "store": "npz",
    "embeddings": "dinov2",
    "selector": "tiered",
}
"""What a table without `use` means, and a run file without the table."""

OPTIONAL = ("embeddings", "second_embeddings", "labeler", "judge")
"""Tables that `use = "none"` leaves out; there is no default labeler."""

JUDGED_BY_ITSELF = "labeler"
"""`use` of a [judge] that is the run's own labeler."""

ROLE_OF = {"second_embeddings": "embeddings"}
"""Tables named otherwise than the role that they fill."""

LISTS = {"scorers": ("scorer", ("monosemanticity", "pearson-bh", "redundancy")), "reporters": ("reporter", ("html",))}
"""Tables that hold several components: the role and the defaults."""

SINGLE = ("images", "extractor", "store", "embeddings", "second_embeddings", "selector", "labeler")
"""Tables that hold one component, besides [judge], which may name that of [labeler]."""

TABLES = ("run", *SINGLE, "judge", *LISTS, "plugins")
ENVIRONMENT_PREFIX = "SAEVIZ_"


class RunSettings(Options):
    """The table `[run]`."""

    dir: Path | None = Field(None, description="the run directory", json_schema_extra={"path": True})
    device: str = Field("auto", description="auto, cpu, cuda, cuda:1, mps")
    precision: Precision = Field("float32", description="float32 or bfloat16, in the models")
    seed: int = Field(0, description="seed of everything that is drawn at random", ge=0, le=4_294_967_295)
    offline: bool = Field(False, description="never use the network")
    top_images: int = Field(20, description="images kept per feature, most activating first", ge=1, le=1000)
    judge_images: int = Field(
        24,
        description="held-out images on which a label is judged: half of them the feature fires on, half it does not",
        ge=10,
        le=1000,
    )
    cache: bool = Field(
        True, description="keep features and embeddings for other runs over the same pictures: see `saeviz cache`"
    )
    cache_dir: Path | None = Field(
        None,
        description="where plugins keep what runs share; default: ~/.cache/saeviz",
        json_schema_extra={"path": True},
    )


@dataclass(frozen=True)
class ComponentConfig:
    """One component of a run: its name and checked options. `secrets` names the options from the environment.

    `name` is what stands before the columns of a scorer that was given a name.
    """

    role: str
    place: str
    use: str
    options: Options
    secrets: Mapping[str, str] = field(default_factory=dict)
    name: str = ""

    def identity(self) -> dict[str, Any]:
        """What its outcome depends on: `as_json` without the options that are neutral to it."""
        neutral = neutral_fields(type(self.options))
        return {name: value for name, value in self.as_json().items() if name not in neutral}

    def as_json(self) -> dict[str, Any]:
        """As in a run file; a secret is the name of its environment variable."""
        options = self.options.model_dump(mode="json", exclude=set(secret_fields(type(self.options))))
        named = {"name": self.name} if self.name else {}
        return {"use": self.use, **named, **options, **{name: {"env": env} for name, env in self.secrets.items()}}


@dataclass(frozen=True)
class RunConfig:
    """A whole run, every option known and checked. `judge` is the same object as `labeler` where that judges itself."""

    run: RunSettings
    images: ComponentConfig
    extractor: ComponentConfig
    store: ComponentConfig
    embeddings: ComponentConfig | None
    second_embeddings: ComponentConfig | None
    scorers: tuple[ComponentConfig, ...]
    selector: ComponentConfig
    labeler: ComponentConfig | None
    judge: ComponentConfig | None
    reporters: tuple[ComponentConfig, ...]

    def component(self, table: str) -> ComponentConfig | None:
        """The configuration from a table that holds one component."""
        found: ComponentConfig | None = getattr(self, table)
        return found

    def components(self) -> Iterator[ComponentConfig]:
        """All of them."""
        single = map(self.component, SINGLE)
        yield from (config for config in single if config is not None)
        if self.judge is not None and self.judge is not self.labeler:
            yield self.judge
        yield from self.scorers
        yield from self.reporters

    def as_json(self) -> dict[str, Any]:
        """The resolved run file without secrets; `resolve` reads it again."""
        tables: dict[str, Any] = {"run": self.run.model_dump(mode="json")}
        for table in SINGLE:
            config = self.component(table)
            tables[table] = config.as_json() if config else {"use": "none"}
        tables["judge"] = self._judge_as_json()
        tables["scorers"] = [config.as_json() for config in self.scorers]
        tables["reporters"] = [config.as_json() for config in self.reporters]
        return tables

    def _judge_as_json(self) -> dict[str, Any]:
        if self.judge is None:
            return {"use": "none"}
        return {"use": JUDGED_BY_ITSELF} if self.judge is self.labeler else self.judge.as_json()


@dataclass(frozen=True)
class Layer:
    """Settings from one place. Relative paths in them are relative to `base`.

    Raises `ConfigError` for values that no option can take, such as a number of 10,000 digits.
    """

    tables: Mapping[str, Any]
    base: Path
    name: str

    def __post_init__(self) -> None:
        check_values(self.tables, self.name)


def read_run_file(path: Path) -> Layer:
    """The tables of a TOML run file; raises `ConfigError` where it cannot be read.

    Without `run.dir` the run goes to `runs/NAME` beside a file `NAME.toml`.
    """
    try:
        tables = read_toml(path)
    except FileNotFoundError as error:
        raise ConfigError(f"there is no run file {path}; `saeviz init {path}` writes one") from error
    except ConfigError as error:
        raise ConfigError(f"the run file {error}") from error
    settings = tables.setdefault("run", {})
    if isinstance(settings, dict):
        settings.setdefault("dir", f"runs/{path.stem}")
    return Layer(tables, path.resolve().parent, str(path))


def environment_layer(environment: Mapping[str, str], base: Path) -> Layer:
    """`SAEVIZ_RUN__DEVICE=cpu` stands for `run.device = "cpu"`."""
    assignments = [
        f"{name.removeprefix(ENVIRONMENT_PREFIX).lower().replace('__', '.')}={value}"
        for name, value in sorted(environment.items())
        if name.startswith(ENVIRONMENT_PREFIX) and "__" in name
    ]
    return assignment_layer(assignments, base, "the environment")


def assignment_layer(assignments: Sequence[str], base: Path, name: str = "--set") -> Layer:
    """`extractor.layers=[11]`: a dotted key and a TOML value (plain text needs no quotes).

    A list of components is replaced as a whole, `scorers=[{ use = "pearson-bh" }]`, or one entry changed by its
    number, `scorers.0.alpha=0.01`.
    """
    tables: dict[str, Any] = {}
    for assignment in assignments:
        key, separator, text = assignment.partition("=")
        parts = key.strip().split(".")
        is_list = len(parts) == 1 and parts[0] in LISTS
        if not separator or not all(parts) or not (len(parts) > 1 or is_list):
            # The value is not quoted: in the environment it may be anything.
            raise ConfigError(f"{name} {quoted(key)}: write TABLE.KEY=VALUE, for instance extractor.layers=[11]")
        _assign(tables, parts, _toml_value(text.strip()), f"{name} {quoted(key)}")
    return Layer(tables, base, name)


def _assign(tables: dict[str, Any], parts: Sequence[str], value: Any, where: str) -> None:
    """Put the value under its dotted key, into what earlier assignments made."""
    target: Any = tables
    for depth, part in enumerate(parts):
        above = ".".join(parts[:depth])
        if not isinstance(target, dict | list):
            raise ConfigError(f"{where}: {one_line(above)} has been given a value that has no keys")
        number = _number(part, len(target)) if isinstance(target, list) else None
        if isinstance(target, list) and number is None:
            raise ConfigError(f"{where}: there is no {one_line(above)}[{one_line(part)}] to change")
        place: Any = part if number is None else number
        if depth == len(parts) - 1:
            target[place] = value
        elif isinstance(target, dict):
            target = target.setdefault(place, {})
        else:
            target = target[place]


def _number(text: str, n: int) -> int | None:
    """Which of `n` entries the text numbers, None where there is none such."""
    return int(text) if text.isdecimal() and len(text) <= len(str(n)) and int(text) < n else None


def _toml_value(text: str) -> Any:
    try:
        tables = parse_toml(f"value = {text}")
    except ValueError:
        return text
    return tables["value"] if len(tables) == 1 else text


def plugin_words(layers: Sequence[Layer]) -> tuple[list[str], Path] | None:
    """`[plugins] use` of the nearest layer that has it, and what its files are relative to."""
    for layer in reversed(layers):
        table = layer.tables.get("plugins", {})
        if not isinstance(table, Mapping) or set(table) - {"use"}:
            raise ConfigError(f"{layer.name}: the table [plugins] knows only `use`")
        if "use" in table:
            words = table["use"]
            words = [words] if isinstance(words, str) else words
            if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
                raise ConfigError(f"{layer.name}: plugins.use must be a list of text")
            return words, layer.base
    return None


def resolve(layers: Sequence[Layer], manager: Manager, environment: Mapping[str, str] = os.environ) -> RunConfig:
    """One checked configuration; later layers win. Raises one `ConfigError` that lists every mistake."""
    return _Resolver(layers, manager, environment).resolve()


class _Resolver:
    def __init__(self, layers: Sequence[Layer], manager: Manager, environment: Mapping[str, str]) -> None:
        self.layers = layers
        self.manager = manager
        self.environment = environment
        self.mistakes: list[str] = []

    def resolve(self) -> RunConfig:
        for layer in self.layers:
            for name in layer.tables:
                if name not in TABLES:
                    hint = suggest(name, TABLES) or f"; there are: {', '.join(TABLES)}"
                    self.mistakes.append(f"{layer.name}: there is no table [{shortened(name)}]{hint}")
        run = self._run_settings()
        single = {table: self._component(ROLE_OF.get(table, table), table, self._tables(table)) for table in SINGLE}
        judge = self._judge(single["labeler"])
        several = {name: self._components(name) for name in LISTS}
        if single["embeddings"] is None:
            if single["second_embeddings"]:
                self.mistakes.append("second_embeddings: there is no first; configure [embeddings]")
            several["scorers"] = self._without_embeddings(several["scorers"])
        self.mistakes += double_columns(several["scorers"], self.manager)
        if self.mistakes:
            raise ConfigError("\n".join(self.mistakes))
        return RunConfig(run=run, judge=judge, **single, **several)  # type: ignore[arg-type]

    def one(self, role: str, place: str) -> ComponentConfig:
        found = self._component(role, place, self._tables(place))
        if self.mistakes or found is None:
            raise ConfigError("\n".join(self.mistakes) or f"{place}: say which {role}")
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
        """Who judges the labels: as [judge] says, else the labeler itself where that costs nothing."""
        tables = self._tables("judge")
        use, chosen = _last_choice(tables, None)
        if not any(table for table, _ in tables):
            return labeler if labeler is not None and self._judges_itself(labeler) else None
        if use == JUDGED_BY_ITSELF:
            if any(set(table) - {"use"} for table, _ in chosen):
                self.mistakes.append("judge: options of the labeler itself are written in [labeler]")
            judge = labeler
        else:
            judge = self._component("labeler", "judge", tables)
        if labeler is None and use != "none" and not self.mistakes:
            self.mistakes.append("judge: this run has no labeler, so there are no labels to judge; take [judge] out")
        return judge

    def _judges_itself(self, labeler: ComponentConfig) -> bool:
        spec = self.manager.offer("labeler", labeler.use).spec
        return isinstance(spec, LabelerSpec) and spec.judges_itself

    def _components(self, name: str) -> tuple[ComponentConfig, ...]:
        role, defaults = LISTS[name]
        entries: list[list[tuple[Mapping[str, Any], Path]]] = [[({"use": use}, Path())] for use in defaults]
        for layer in self.layers:
            given = layer.tables.get(name)
            if isinstance(given, Mapping):  # scorers.0.alpha=0.1 changes one entry
                for number, table in given.items():
                    place = _number(number, len(entries))
                    if place is not None and isinstance(table, Mapping):
                        entries[place].append((table, layer.base))
                    else:
                        self.mistakes.append(f"{layer.name}: there is no {name}[{one_line(number)}] to change")
            elif isinstance(given, list) and all(isinstance(table, Mapping) for table in given):
                entries = [[(table, layer.base)] for table in given]
            elif given is not None:
                self.mistakes.append(f"{layer.name}: write [[{name}]], a list of tables")
        found = [self._component(role, f"{name}[{number}]", tables) for number, tables in enumerate(entries)]
        return tuple(config for config in found if config is not None)

    def _component(
        self, role: str, place: str, tables: Sequence[tuple[Mapping[str, Any], Path]]
    ) -> ComponentConfig | None:
        use, tables = _last_choice(tables, DEFAULT_USE.get(place))
        if (use is None and not any(table for table, _ in tables)) or (use == "none" and place in OPTIONAL):
            return None
        if not isinstance(use, str):
            self.mistakes.append(f'{place}: say which one, for instance use = "{self._example(role)}"')
            return None
        try:
            model = self.manager.offer(role, use, place).spec.options
        except ConfigError as error:
            self.mistakes.append(str(error))
            return None
        values = self._values(tables, model, place)
        values.pop("use", None)
        name = self._name(values, model, place) if role == "scorer" else ""
        secrets = self._secrets(values, model, place)
        with foreign_code(f"{place}: the check of the options of {use} fails"):
            try:
                return ComponentConfig(role, place, use, model.model_validate(values), secrets, name)
            except ValidationError as error:
                self.mistakes += explain(error, model, place)
        return None

    def _values(
        self, tables: Sequence[tuple[Mapping[str, Any], Path]], model: type[BaseModel], place: str
    ) -> dict[str, Any]:
        """The options of all tables, the last one's before the others', with absolute paths."""
        always = path_fields(model)
        values: dict[str, Any] = {}
        for table, base in tables:
            for name, value in table.items():
                try:
                    values[name] = _absolute(value, base, always=always[name]) if name in always else value
                except ConfigError as error:
                    self.mistakes.append(f"{place}.{name}: {error}")
        return values

    def _name(self, values: dict[str, Any], model: type[Options], place: str) -> str:
        """What a [[scorers]] table calls itself, unless `name` is an option of the scorer."""
        if "name" not in values or "name" in model.model_fields:
            return ""
        name = values.pop("name")
        mistake = name_mistake(name)
        if mistake:
            self.mistakes.append(f"{place}.name: {mistake}")
            return ""
        return str(name)

    def _without_embeddings(self, scorers: tuple[ComponentConfig, ...]) -> tuple[ComponentConfig, ...]:
        """Default scorers that need embeddings are left out; one that was asked for is a mistake."""
        kept = []
        for config in scorers:
            spec = self.manager.offer("scorer", config.use).spec
            if not (isinstance(spec, ScorerSpec) and spec.needs_embeddings):
                kept.append(config)
            elif any("scorers" in layer.tables for layer in self.layers):
                self.mistakes.append(
                    f"{config.place}: {config.use} needs embeddings and this run has none; "
                    "configure [embeddings] or take it out"
                )
        return tuple(kept)

    def _example(self, role: str) -> str:
        return next(iter(self.manager.names(role)), "...")

    def _secrets(self, values: dict[str, Any], model: type[Options], place: str) -> dict[str, str]:
        """Put secrets in from the environment and give the names of their variables."""
        names = {}
        for name in secret_fields(model):
            if values.get(name) is None:
                continue
            given = values.pop(name)
            if not (isinstance(given, Mapping) and set(given) == {"env"} and isinstance(given["env"], str)):
                self.mistakes.append(f'{place}.{name}: a secret is not written here; give {{ env = "VARIABLE" }}')
            elif not self.environment.get(given["env"]):
                self.mistakes.append(f"{place}.{name}: the environment variable {given['env']} is not set")
            else:
                values[name] = self.environment[given["env"]]
                names[name] = given["env"]
        return names


def resolve_component(
    role: str, place: str, layers: Sequence[Layer], manager: Manager, environment: Mapping[str, str] = os.environ
) -> ComponentConfig:
    """One checked component from the tables called `place` of the layers, outside a run. Raises as `resolve`."""
    return _Resolver(layers, manager, environment).one(role, place)


def check_needs(config: RunConfig, manager: Manager) -> None:
    """Raise one `ConfigError` that lists every package the run's components lack; nothing is imported."""
    lacking = []
    for component in config.components():
        spec = manager.offer(component.role, component.use).spec
        missing = missing_needs(spec)
        if missing:
            lacking.append(
                f"{component.place}: {component.use} needs {', '.join(missing)}, which is not installed: "
                f"pip install '{spec.install or ' '.join(missing)}'"
            )
    if lacking:
        raise ConfigError("\n".join(lacking))


def _last_choice(
    tables: Sequence[tuple[Mapping[str, Any], Path]], default: str | None
) -> tuple[Any, list[tuple[Mapping[str, Any], Path]]]:
    """The component that is used, and the tables that speak of it: options of one that was replaced go with it."""
    use: Any = default
    kept: list[tuple[Mapping[str, Any], Path]] = []
    for table, base in tables:
        if "use" in table and table["use"] != use:
            use = table["use"]
            kept = []
        kept.append((table, base))
    return use, kept


def _absolute(value: Any, base: Path, *, always: bool) -> Any:
    if isinstance(value, Mapping):
        return {key: _absolute(entry, base, always=always) for key, entry in value.items()}
    if isinstance(value, list):
        return [_absolute(entry, base, always=always) for entry in value]
    if not isinstance(value, str) or not value:
        return value
    if always or value.startswith((".", "~")):
        return str(absolute(value, base))
    try:  # what is no path may be a hub id
        return str(absolute(value, base)) if exists(base / value) else value
    except (ConfigError, OSError):
        return value
