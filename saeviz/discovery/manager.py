"""Find plugins, isolate broken ones, and build components by name."""

from __future__ import annotations

import importlib
import importlib.util
import os
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import pluggy
from pydantic import ValidationError

from saeviz.contract import hookspecs
from saeviz.contract.context import Context
from saeviz.contract.options import Options
from saeviz.contract.specs import ROLES, ComponentSpec
from saeviz.discovery.checks import HOOKS, check_api, check_hooks, checked_spec, mistake_of_factory
from saeviz.discovery.foreign import ForeignError, foreign_code
from saeviz.discovery.mistakes import explain, suggest
from saeviz.discovery.sources import PluginChoice, Source, installed
from saeviz.discovery.trace import asked, watched
from saeviz.formats.plain import one_line, quoted
from saeviz.values.errors import ConfigError, PluginError, SaevizError

MOST_SPECS = 1000
"""Of a hook, whose generator may be endless."""
MOST_NOTES = 1000
"""Maximum number of lines read, because a plugin's generator may be endless."""


@dataclass(frozen=True)
class Offer:
    """A component and the plugin that offers it."""

    spec: ComponentSpec
    source: Source


@dataclass(frozen=True)
class Problem:
    """Why a plugin is left out. `details` is the traceback if its own code failed."""

    source: Source
    reason: str
    details: str = ""

    def __str__(self) -> str:
        return f"{self.source} is left out: {self.reason}"


class Manager:
    """The available components, by role and name."""

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

        A plugin that fails is left out completely and listed in `problems`; with `strict` (default: whether
        `SAEVIZ_STRICT_PLUGINS` is set) it raises `PluginError` instead. Raises `ConfigError` for a name in `choice`
        that no plugin has.
        """
        choice = choice or PluginChoice()
        strict = bool(os.environ.get("SAEVIZ_STRICT_PLUGINS")) if strict is None else strict
        manager = cls()
        manager.choice = choice
        found = sorted(installed(), key=lambda source: (not source.bundled, source.name))
        _refuse_unknown_names(choice, [source.name for source in (*found, *choice.extra)])
        for source in found:
            unwanted = not source.bundled and choice.only is not None and source.name not in choice.only
            if unwanted or source.name in choice.without:
                manager.left_out.append(source)
            else:
                manager.add(source)
        for source in choice.extra:
            if source.name in choice.without:
                manager.left_out.append(source)
            else:
                manager.add(source)
        if strict and manager.problems:
            raise PluginError("\n".join(map(str, manager.problems)))
        return manager

    def add(self, source: Source) -> None:
        """Load one plugin and register its components, or list it in `problems`."""
        try:
            with foreign_code("it fails", imported=True):
                with asked(source, "import"):
                    plugin = source.load()
                offers = self._offers_of(plugin, source)
        except ForeignError as error:
            self.problems.append(Problem(source, str(error), error.details))
        except PluginError as error:
            self.problems.append(Problem(source, str(error)))
        except SaevizError as error:  # of a value that its code makes, such as a ColumnInfo
            self.problems.append(Problem(source, f"it fails: {error}", traceback.format_exc()))
        else:
            self.sources.append(source)
            self.offers.update({(offer.spec.role, offer.spec.name): offer for offer in offers})

    def _offers_of(self, plugin: object, source: Source) -> list[Offer]:
        check_api(plugin)
        check_hooks(plugin)
        try:
            self._pluggy.register(plugin, name=source.name)
        except ValueError as error:
            raise PluginError(f"its name is already used by {self._owner(source.name)}") from error
        except pluggy.PluginValidationError as error:
            raise PluginError(str(error).splitlines()[-1]) from error
        try:
            with asked(source, "hooks"):
                offers = [Offer(spec, source) for spec in self._specs_of(plugin)]
            self._refuse_taken_names(offers)
        except BaseException:
            self._pluggy.unregister(plugin)
            raise
        return offers

    def _specs_of(self, plugin: object) -> Iterator[ComponentSpec]:
        # Each implementation is called separately: through the hook, one failure would hide the others.
        for caller in self._pluggy.get_hookcallers(plugin) or ():
            expected = HOOKS[caller.name]
            for implementation in caller.get_hookimpls():
                if implementation.plugin is plugin:
                    specs = implementation.function()
                    given = islice(specs, MOST_SPECS + 1) if isinstance(specs, Iterable) else [specs]
                    for number, spec in enumerate(given):
                        if number == MOST_SPECS:
                            raise PluginError(f"{caller.name} yields more than {MOST_SPECS} specs, as if without end")
                        yield checked_spec(spec, expected, caller.name)

    def _refuse_taken_names(self, offers: list[Offer]) -> None:
        seen: set[tuple[str, str]] = set()
        for offer in offers:
            key = offer.spec.role, offer.spec.name
            if key in self.offers or key in seen:
                owner = self.offers[key].source if key in self.offers else offer.source
                raise PluginError(
                    f"its {key[0]} {key[1]!r} is already offered by {owner}, version {owner.version}; "
                    f"rename it, or exclude the other with --plugins no:{owner.name}"
                )
            seen.add(key)

    def _owner(self, name: str) -> str:
        return next((str(source) for source in self.sources if source.name == name), "another plugin")

    def names(self, role: str) -> list[str]:
        """The names of the components of a role."""
        return [name for offered_role, name in self.offers if offered_role == role]

    def offer(self, role: str, name: str, place: str = "") -> Offer:
        """The component with this name. Raises `ConfigError`, with a suggestion, if there is none."""
        if role not in ROLES:
            hint = suggest(role, ROLES) or f"; there are: {', '.join(ROLES)}"
            raise ConfigError(f"unknown role {quoted(role)}{hint}")
        if (role, name) in self.offers:
            return self.offers[role, name]
        names = self.names(role)
        where = f"{place}: " if place else ""
        hint = suggest(name, names) or f"; there are: {', '.join(names) or 'none'}"
        raise ConfigError(f"{where}no plugin offers the {role} {quoted(name)}{self._left_out_in_words(name)}{hint}")

    def _left_out_in_words(self, name: str) -> str:
        """Which plugins could have offered a component and were left out, and why; of its own name, or else all."""
        reasons = {problem.source.name: str(problem) for problem in self.problems}
        reasons |= {
            source.name: f"{source} is left out, as --plugins, SAEVIZ_PLUGINS or plugins.use asks"
            for source in self.left_out
        }
        words = [reasons[name]] if name in reasons else list(reasons.values())
        return "".join(f"; {one_line(reason)}" for reason in words)

    def factory(self, offer: Offer) -> Callable[[Options, Context], Any]:
        """The callable that builds a component; its module is imported here.

        Raises `PluginError`, which distinguishes a missing dependency from a failing module.
        """
        spec = offer.spec
        missing = missing_needs(spec)
        if missing:
            raise PluginError(
                f"the {spec.role} {spec.name!r} needs {', '.join(missing)}, which is not installed: "
                f"pip install '{install_of(spec)}'"
            )
        built: Callable[[Options, Context], Any] = self._load(offer, spec.factory)
        if mistake := mistake_of_factory(built):
            raise PluginError(f"the {spec.role} {spec.name!r} of {offer.source}: {mistake}")
        return built

    def notes(self, offer: Offer) -> list[str]:
        """The lines of a component's `notes`, empty if it has none. Raises `PluginError` if they fail."""
        if offer.spec.notes is None:
            return []
        with foreign_code(f"the notes of the {offer.spec.role} {offer.spec.name!r} of {offer.source} fail"):
            notes = self._load(offer, offer.spec.notes)()
            return [str(line) for line in islice(notes, MOST_NOTES)]

    def _load(self, offer: Offer, reference: str | Callable[..., Any]) -> Callable[..., Any]:
        """Import the object that a spec names as `package.module:name`."""
        if not isinstance(reference, str):
            return reference
        spec = offer.spec
        module_name, _, attribute = reference.partition(":")
        failing = foreign_code(
            f"the {spec.role} {spec.name!r} of {offer.source} cannot be loaded: {reference} fails", imported=True
        )
        with failing, asked(offer.source, f"import of {reference}"):
            found = getattr(importlib.import_module(module_name), attribute)
        if not callable(found):
            raise PluginError(f"the {spec.role} {spec.name!r} of {offer.source}: {reference} cannot be called")
        loaded: Callable[..., Any] = found
        return loaded

    def load_all(self, components: Iterable[tuple[str, str, str]]) -> None:
        """Import the modules of these (role, name, place); raises one `PluginError` that lists every one that fails."""
        failing = []
        for role, name, place in components:
            try:
                self.factory(self.offer(role, name))
            except PluginError as error:
                failing.append(f"{place}: {error}")
        if failing:
            raise PluginError("\n".join(failing))

    def build(self, role: str, name: str, options: Mapping[str, Any] | Options, context: Context) -> Any:
        """Build a component. Raises `ConfigError` for invalid options."""
        offer = self.offer(role, name)
        if not isinstance(options, Options):
            options = validate_options(offer.spec, options, place=f"{role} {name}")
        factory, context = self.factory(offer), context if context.place else replace(context, place=role)
        who = f"{context.place}: {name} of {offer.source}"
        with asked(who, "build"):
            component = factory(options, context)
        return watched(component, who)


def validate_options(spec: ComponentSpec, options: Mapping[str, Any], place: str) -> Options:
    """Validate options against the component's model. Raises `ConfigError` with one line per mistake."""
    with foreign_code(f"{place}: the check of its options fails"):
        try:
            return spec.options.model_validate(dict(options))
        except ValidationError as error:
            raise ConfigError("\n".join(explain(error, spec.options, place))) from error


def missing_needs(spec: ComponentSpec) -> list[str]:
    """The modules in `spec.needs` that are not installed; nothing is imported."""
    return [name for name in spec.needs if not _is_installed(name)]


def install_of(spec: ComponentSpec) -> str:
    """The argument of `pip install` that provides what a component lacks, as far as its spec says."""
    return spec.install or " ".join(missing_needs(spec))


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def _refuse_unknown_names(choice: PluginChoice, known: list[str]) -> None:
    for name in sorted((choice.only or frozenset()) | choice.without):
        if name not in known:
            hint = suggest(name, known) or f"; there are: {', '.join(known)}"
            raise ConfigError(
                f"--plugins, SAEVIZ_PLUGINS or plugins.use: no installed plugin is called {quoted(name)}{hint}"
            )
