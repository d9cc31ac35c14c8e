"""Where plugins come from: installed distributions, and the files and modules of `--plugins`."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib.machinery import SourceFileLoader
from importlib.metadata import Distribution, EntryPoint, entry_points
from pathlib import Path
from types import CodeType, ModuleType

from saeviz.discovery.metadata import GROUP, missing_requirements, mistake_before_import
from saeviz.formats.damage import digest_of_file
from saeviz.formats.paths import absolute
from saeviz.values.errors import ConfigError, PluginError


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
class PluginChoice:
    """The choice made by `--plugins`, `SAEVIZ_PLUGINS` and `[plugins] use`, which add up.

    `only` restricts the third-party plugins to these names (None = all of them), `without` leaves names out before they
    are imported, files and modules too, `extra` are files and modules to load besides. `words` is how it was asked for,
    with absolute paths, so that a run can be opened again with the same plugins.
    """

    only: frozenset[str] | None = None
    without: frozenset[str] = frozenset()
    extra: tuple[Source, ...] = ()
    words: tuple[str, ...] = ()

    @classmethod
    def of_all(cls, words: Sequence[str] | None, of_run_file: tuple[Sequence[str], Path] | None) -> PluginChoice:
        """The choice of `[plugins] use` with its folder, of `SAEVIZ_PLUGINS` and of `--plugins` together."""
        of_file = cls.parse(*of_run_file, "plugins.use") if of_run_file else cls()
        return of_file + cls.of_user(words)

    @classmethod
    def of_user(cls, words: Sequence[str] | None) -> PluginChoice:
        """The choice of the environment and of the words of `--plugins` together."""
        variable = os.environ.get("SAEVIZ_PLUGINS")
        of_environment = cls() if variable is None else cls.parse([variable], Path.cwd(), "SAEVIZ_PLUGINS")
        return of_environment + cls.parse(words or (), Path.cwd())

    def __add__(self, other: PluginChoice) -> PluginChoice:
        """Both together: what either names is loaded, what either excludes is not."""
        names = [one.only for one in (self, other) if one.only is not None]
        only = frozenset[str]().union(*names) if names else None
        extra = {source.origin: source for source in (*self.extra, *other.extra)}
        words = dict.fromkeys((*self.words, *other.words))
        return PluginChoice(only, self.without | other.without, tuple(extra.values()), tuple(words))

    @classmethod
    def parse(cls, values: Sequence[str], base: Path, place: str = "--plugins") -> PluginChoice:
        """From the words of a `place`, for messages; files are relative to `base`."""
        only: set[str] | None = None
        without: set[str] = set()
        extra: list[Source] = []
        words: list[str] = []
        for given in (part.strip() for value in values for part in os.fspath(value).split(",")):
            word = given
            if word.startswith("no:"):
                without.add(word.removeprefix("no:"))
            elif word.startswith("module:"):
                extra.append(_module_source(word.removeprefix("module:")))
            elif names_code(word):
                word = str(absolute(word, base))
                extra.append(_file_source(Path(word), place))
            else:
                only = (only or set()) | ({word} if word else set())
            words.append(word)
        return cls(frozenset(only) if only is not None else None, frozenset(without), tuple(extra), tuple(words))


def names_code(word: str) -> bool:
    """Whether a word of `--plugins` is a file or a module to load, and not the name of an installed plugin."""
    return word.startswith("module:") or word.endswith(".py") or "/" in word or "\\" in word


def installed() -> Iterator[Source]:
    """Every plugin that an installed distribution declares, each once."""
    seen: set[tuple[str, str]] = set()
    # Asking a distribution its name parses all of its metadata, and one may declare many plugins.
    origins: dict[Distribution | None, tuple[str, str]] = {None: ("unknown distribution", "?")}
    for entry_point in entry_points(group=GROUP):
        if (entry_point.name, entry_point.value) not in seen:
            seen.add((entry_point.name, entry_point.value))
            dist = entry_point.dist
            if dist is not None and dist not in origins:
                origins[dist] = (dist.name, dist.version)
            yield _entry_point_source(entry_point, *origins[dist])


def _entry_point_source(entry_point: EntryPoint, origin: str, version: str) -> Source:
    is_bundled = origin == "saeviz"
    load = entry_point.load if is_bundled else partial(_load_installed, entry_point)
    return Source(entry_point.name, f"{origin} {version}", version, bundled=is_bundled, load=load)


def _load_installed(entry_point: EntryPoint) -> object:
    """Import a plugin, unless its metadata say that it cannot work."""
    if mistake := mistake_before_import(entry_point):
        raise PluginError(mistake)
    try:
        return entry_point.load()
    except ImportError as error:
        missing = missing_requirements(entry_point.dist)
        if not missing:
            raise
        needed = " ".join(f"'{one}'" for one in missing)
        raise ImportError(f"{error}; it requires {', '.join(missing)}: pip install {needed}") from error


def _module_source(name: str) -> Source:
    return Source(
        name, f"module {name}", _version_of_module(name), bundled=False, load=lambda: importlib.import_module(name)
    )


def _file_source(path: Path, place: str) -> Source:
    if not path.is_file():
        raise ConfigError(f"{place}: no file {path}")
    version = _version_of_file(path)
    return Source(path.stem, f"file {path}", version, bundled=False, load=lambda: _import_file(path))


def _version_of_module(name: str) -> str:
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return "in-house"  # loading it will report what is wrong
    return _version_of_file(Path(spec.origin)) if spec and spec.origin else "in-house"


def _version_of_file(path: Path) -> str:
    """A digest of the file as its version, so that stages run again when it is edited."""
    try:
        return digest_of_file(path)[:12]
    except OSError:
        return "in-house"


class _AsWritten(SourceFileLoader):
    """Compiles a file each time: bytecode beside it counts as current if size and second of change are the same."""

    def get_code(self, _name: str) -> CodeType:
        return self.source_to_code(self.get_data(self.path), self.path)


def _import_file(path: Path) -> ModuleType:
    name = f"saeviz_file_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path, loader=_AsWritten(name, str(path)))
    if path.suffix != ".py" or spec is None or spec.loader is None:
        raise PluginError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
