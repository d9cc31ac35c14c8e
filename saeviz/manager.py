"""Finds plugins, keeps broken ones from disturbing the rest, and turns names into components."""

from __future__ import annotations

import difflib
import hashlib
import importlib
import importlib.util
import inspect
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import pluggy
from pydantic import ValidationError

from saeviz import hookspecs
from saeviz.context import Context
from saeviz.errors import ConfigError, PluginError
from saeviz.specs import ROLES, SPEC_TYPES, ComponentSpec, Options, secret_fields

GROUP = "saeviz"
HOOKS = {spec_type.hook: spec_type for spec_type in SPEC_TYPES}


@dataclass(frozen=True)
class Source:
    """Where a plugin comes from; it is not imported before `load`."""

    name: str
    origin: str
    version: str
    bundled: bool
    load: Callable[[], object] = field(repr=False)

    def __str__(self) -> str:
        return f"plugin {self.name} ({self.origin})"


@dataclass(frozen=True)
class Offer:
    """A component and the plugin that offers it."""

    spec: ComponentSpec
    source: Source


@dataclass(frozen=True)
class Problem:
    """Why a plugin takes no part. `details` is the traceback where its own code failed."""

    source: Source
    reason: str
    details: str = ""

    def __str__(self) -> str:
        return f"{self.source} is left out: {self.reason}"


@dataclass(frozen=True)
class PluginChoice:
    """What `--plugins` asked for.

    `only` restricts the third-party plugins to these names (None = all of them), `without` leaves names
    out before they are imported, `extra` are files and modules to load besides. `words` is how it was
    asked for, with absolute paths, so that a run can be opened again with the same plugins.
    """

    only: frozenset[str] | None = None
    without: frozenset[str] = frozenset()
    extra: tuple[Source, ...] = ()
    words: tuple[str, ...] = ()

    @classmethod
    def parse(cls, values: Sequence[str], base: Path) -> PluginChoice:
        """From the words of `--plugins`, `SAEVIZ_PLUGINS` or `[plugins] use`; files are relative to `base`."""
        only: set[str] | None = None
        without: set[str] = set()
        extra: list[Source] = []
        words: list[str] = []
        for given in (part.strip() for value in values for part in value.split(",")):
            word = given
            if word.startswith("no:"):
                without.add(word.removeprefix("no:"))
            elif word.startswith("module:"):
                extra.append(_module_source(word.removeprefix("module:")))
            elif word.endswith(".py") or "/" in word or "\\" in word:
                word = str((base / Path(word).expanduser()).resolve())
                extra.append(_file_source(Path(word)))
            else:
                only = (only or set()) | ({word} if word else set())
            words.append(word)
        return cls(frozenset(only) if only is not None else None, frozenset(without), tuple(extra), tuple(words))


class Manager:
    """The components at hand, by role and name."""

    def __init__(self) -> None:
        self.offers: dict[tuple[str, str], Offer] = {}
        self.sources: list[Source] = []
        self.left_out: list[Source] = []
        self.problems: list[Problem] = []
        self.choice = PluginChoice()
        self._pluggy = pluggy.PluginManager(hookspecs.PROJECT)
        self._pluggy.add_hookspecs(hookspecs)

    @classmethod
    def discover(cls, choice: PluginChoice | None = None, *, strict: bool | None = None) -> Manager:
        """Load the bundled plugins, then third parties by name, then those that the choice adds.

        A plugin that fails is withdrawn whole and listed in `problems`; with `strict` (default: whether
        `SAEVIZ_STRICT_PLUGINS` is set) it raises `PluginError` instead. Raises `ConfigError` for a name
        in `choice` that no plugin has.
        """
        choice = choice or PluginChoice()
        strict = bool(os.environ.get("SAEVIZ_STRICT_PLUGINS")) if strict is None else strict
        manager = cls()
        manager.choice = choice
        found = sorted(_installed(), key=lambda source: (not source.bundled, source.name))
        _refuse_unknown_names(choice, [source.name for source in found])
        for source in found:
            unwanted = not source.bundled and choice.only is not None and source.name not in choice.only
            if unwanted or source.name in choice.without:
                manager.left_out.append(source)
            else:
                manager.add(source)
        for source in choice.extra:
            manager.add(source)
        if strict and manager.problems:
            raise PluginError("\n".join(map(str, manager.problems)))
        return manager

    def add(self, source: Source) -> None:
        """Load one plugin and take up what it offers, or list it in `problems`."""
        try:
            plugin = source.load()
            offers = self._offers_of(plugin, source)
        except PluginError as error:
            self.problems.append(Problem(source, str(error)))
        except (Exception, SystemExit) as error:  # noqa: BLE001  foreign code may fail in any way
            reason = f"it fails with {type(error).__name__}: {error}"
            self.problems.append(Problem(source, reason, traceback.format_exc()))
        else:
            self.sources.append(source)
            self.offers.update({(offer.spec.role, offer.spec.name): offer for offer in offers})

    def _offers_of(self, plugin: object, source: Source) -> list[Offer]:
        _check_api(plugin)
        _check_hooks(plugin)
        try:
            self._pluggy.register(plugin, name=source.name)
        except ValueError as error:
            raise PluginError(f"its name is taken by {self._owner(source.name)}") from error
        except pluggy.PluginValidationError as error:
            raise PluginError(str(error).splitlines()[-1]) from error
        try:
            offers = [Offer(spec, source) for spec in self._specs_of(plugin)]
            self._refuse_taken_names(offers)
        except BaseException:
            self._pluggy.unregister(plugin)
            raise
        return offers

    def _specs_of(self, plugin: object) -> Iterator[ComponentSpec]:
        # Each implementation is called by itself: through the hook one failure would hide all the others.
        for caller in self._pluggy.get_hookcallers(plugin) or ():
            expected = HOOKS[caller.name]
            for implementation in caller.get_hookimpls():
                if implementation.plugin is plugin:
                    specs = implementation.function()
                    for spec in specs if isinstance(specs, Iterable) else [specs]:
                        yield _checked(spec, expected, caller.name)

    def _refuse_taken_names(self, offers: list[Offer]) -> None:
        seen: set[tuple[str, str]] = set()
        for offer in offers:
            key = offer.spec.role, offer.spec.name
            if key in self.offers or key in seen:
                owner = self.offers[key].source if key in self.offers else offer.source
                raise PluginError(
                    f"its {key[0]} {key[1]!r} is already offered by {owner}, version {owner.version}; "
                    f"rename it, or leave the other out with --plugins no:{owner.name}"
                )
            seen.add(key)

    def _owner(self, name: str) -> str:
        return next((str(source) for source in self.sources if source.name == name), "another plugin")

    def names(self, role: str) -> list[str]:
        """The components of a role."""
        return [name for offered_role, name in self.offers if offered_role == role]

    def offer(self, role: str, name: str, place: str = "") -> Offer:
        """The component of that name; raises `ConfigError` with a suggestion where there is none."""
        if role not in ROLES:
            raise ConfigError(f"there is no role {role!r}{suggest(role, ROLES)}")
        if (role, name) in self.offers:
            return self.offers[role, name]
        names = self.names(role)
        where = f"{place}: " if place else ""
        hint = suggest(name, names) or f"; there are: {', '.join(names) or 'none'}"
        withdrawn = [problem.source.name for problem in self.problems]
        excuse = f" (left out as broken: {', '.join(withdrawn)}; `saeviz plugins` says why)" if withdrawn else ""
        raise ConfigError(f"{where}no plugin offers the {role} {name!r}{hint}{excuse}")

    def factory(self, offer: Offer) -> Callable[[Options, Context], Any]:
        """The callable that builds a component; its module is imported here.

        Raises `PluginError` that tells a missing dependency from a module that fails.
        """
        spec = offer.spec
        missing = missing_needs(spec)
        if missing:
            install = spec.install or " ".join(missing)
            raise PluginError(
                f"the {spec.role} {spec.name!r} needs {', '.join(missing)}, which is not installed: "
                f"pip install '{install}'"
            )
        built: Callable[[Options, Context], Any] = self._load(offer, spec.factory)
        return built

    def notes(self, offer: Offer) -> list[str]:
        """The lines of a component's `notes`, empty where it has none. Raises `PluginError` where they fail."""
        if offer.spec.notes is None:
            return []
        try:
            return [str(line) for line in self._load(offer, offer.spec.notes)()]
        except (OSError, ValueError, TypeError, LookupError, AttributeError, RuntimeError) as error:
            raise PluginError(
                f"the notes of the {offer.spec.role} {offer.spec.name!r} of {offer.source} fail with "
                f"{type(error).__name__}: {error}"
            ) from error

    def _load(self, offer: Offer, reference: str | Callable[..., Any]) -> Callable[..., Any]:
        """What a spec names as `package.module:name`."""
        if not isinstance(reference, str):
            return reference
        spec = offer.spec
        module_name, _, attribute = reference.partition(":")
        try:
            found = getattr(importlib.import_module(module_name), attribute)
        except (ImportError, AttributeError, OSError, RuntimeError, SyntaxError) as error:
            raise PluginError(
                f"the {spec.role} {spec.name!r} of {offer.source} cannot be loaded: "
                f"{reference} fails with {type(error).__name__}: {error}"
            ) from error
        if not callable(found):
            raise PluginError(f"the {spec.role} {spec.name!r} of {offer.source}: {reference} cannot be called")
        loaded: Callable[..., Any] = found
        return loaded

    def build(self, role: str, name: str, options: Mapping[str, Any] | Options, context: Context) -> Any:
        """The component itself; raises `ConfigError` for wrong options."""
        offer = self.offer(role, name)
        if not isinstance(options, Options):
            options = validate_options(offer.spec, options, place=f"{role} {name}")
        return self.factory(offer)(options, context)


def validate_options(spec: ComponentSpec, options: Mapping[str, Any], place: str) -> Options:
    """The options as the component's model; raises `ConfigError` with a line per mistake."""
    try:
        return spec.options.model_validate(dict(options))
    except ValidationError as error:
        raise ConfigError("\n".join(explain(error, spec.options, place))) from error


def explain(error: ValidationError, model: type[Options], place: str) -> list[str]:
    """A line per mistake: the place, what is wrong, and a suggestion for a misspelt name.

    The offending value is not quoted where its field is a secret.
    """
    lines = []
    secrets = {(name,) for name in secret_fields(model)}
    for mistake in error.errors():
        where = ".".join([place, *(str(part) for part in mistake["loc"])])
        if mistake["type"] == "extra_forbidden":
            names = list(model.model_fields)
            hint = suggest(str(mistake["loc"][-1]), names) or f"; there are: {', '.join(names) or 'none'}"
            lines.append(f"{where}: there is no such option{hint}")
        else:
            message = mistake["msg"].removeprefix("Value error, ")
            silent = mistake["type"] in {"missing", "value_error"} or mistake["loc"][:1] in secrets
            given = "" if silent else f", not {mistake['input']!r}"
            lines.append(f"{where}: {message[0].lower()}{message[1:]}{given}")
    return lines


def suggest(word: str, words: Iterable[str]) -> str:
    """`; did you mean 'x'?`, or nothing."""
    close = difflib.get_close_matches(word, list(words), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def missing_needs(spec: ComponentSpec) -> list[str]:
    """The modules in `spec.needs` that are not installed; nothing is imported."""
    return [name for name in spec.needs if not _is_installed(name)]


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def _installed() -> Iterator[Source]:
    seen: set[tuple[str, str]] = set()
    for entry_point in entry_points(group=GROUP):
        if (entry_point.name, entry_point.value) not in seen:
            seen.add((entry_point.name, entry_point.value))
            yield _entry_point_source(entry_point)


def _entry_point_source(entry_point: EntryPoint) -> Source:
    dist = entry_point.dist
    origin, version = (dist.name, dist.version) if dist else ("unknown distribution", "?")
    return Source(entry_point.name, f"{origin} {version}", version, bundled=origin == "saeviz", load=entry_point.load)


def _module_source(name: str) -> Source:
    return Source(
        name, f"module {name}", _version_of_module(name), bundled=False, load=lambda: importlib.import_module(name)
    )


def _file_source(path: Path) -> Source:
    if not path.is_file():
        raise ConfigError(f"--plugins: there is no file {path}")
    version = _version_of_file(path)
    return Source(path.stem, f"file {path}", version, bundled=False, load=lambda: _import_file(path))


def _version_of_module(name: str) -> str:
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return "in-house"  # loading it will say what is wrong
    return _version_of_file(Path(spec.origin)) if spec and spec.origin else "in-house"


def _version_of_file(path: Path) -> str:
    """A file has no version; its content stands for one, so that a stage runs again when it is edited."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()[:12]
    except OSError:
        return "in-house"


def _import_file(path: Path) -> ModuleType:
    name = f"saeviz_file_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise PluginError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _refuse_unknown_names(choice: PluginChoice, known: list[str]) -> None:
    for name in sorted((choice.only or frozenset()) | choice.without):
        if name not in known:
            hint = suggest(name, known) or f"; there are: {', '.join(known)}"
            raise ConfigError(f"--plugins: no installed plugin is called {name!r}{hint}")


def _check_api(plugin: object) -> None:
    api = getattr(plugin, "SAEVIZ_API", hookspecs.API_VERSION)
    if not isinstance(api, int) or api > hookspecs.API_VERSION:
        raise PluginError(f"it is made for plugin API {api}, this saeviz has {hookspecs.API_VERSION}; upgrade saeviz")


def _check_hooks(plugin: object) -> None:
    """A misspelt hook and a missing marker would otherwise fail in silence."""
    marked = False
    for name, member in inspect.getmembers(plugin, lambda value: isinstance(value, FunctionType)):
        is_marked = hasattr(member, f"{hookspecs.PROJECT}_impl")
        marked = marked or is_marked
        if is_marked and name not in HOOKS:
            raise PluginError(f"it implements {name}, which is no hook{suggest(name, HOOKS)}")
        if not is_marked and (name in HOOKS or (name.startswith("saeviz_") and suggest(name, HOOKS))):
            raise PluginError(f"its function {name} lacks the marker @saeviz.hookimpl{suggest(name, HOOKS)}")
    if not marked:
        raise PluginError("it implements no hook; mark a function such as saeviz_scorers with @saeviz.hookimpl")


def _checked(spec: object, expected: type[ComponentSpec], hook: str) -> ComponentSpec:
    if not isinstance(spec, expected):
        raise PluginError(f"{hook} yields {type(spec).__name__} where {expected.__name__} belongs")
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]*", spec.name):
        raise PluginError(f"{hook} yields the name {spec.name!r}; use small letters, digits, '-', '.' and '_'")
    if not (isinstance(spec.options, type) and issubclass(spec.options, Options)):
        raise PluginError(f"{hook}: the options of {spec.name!r} are not a subclass of saeviz.Options")
    return spec
