"""Read a run that may be untrusted: nothing in its `run.json` can load code, contact a host or reveal a secret."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pydantic import SecretStr

from saeviz.config.layers import Layer, environment_layer
from saeviz.config.resolve import resolve_component, resolve_extractors, resolve_settings
from saeviz.config.schema import EXTRACTORS, LISTS, ComponentConfig, RunConfig, RunSettings
from saeviz.contract.context import Context
from saeviz.discovery.manager import Manager
from saeviz.discovery.sources import PluginChoice, names_code
from saeviz.formats.mirror import fetched_run
from saeviz.formats.objects import is_address
from saeviz.formats.paths import absolute, default_cache_dir
from saeviz.formats.plain import one_line
from saeviz.formats.rundir import RunDir
from saeviz.pipeline.components import Components
from saeviz.pipeline.dataset import Dataset
from saeviz.pipeline.images import Images, Listing
from saeviz.pipeline.session import Session, logger
from saeviz.results.run import Run
from saeviz.values.errors import ConfigError, ImageError, SaevizError
from saeviz.values.features import FeatureSpace
from saeviz.values.images import ImageItem
from saeviz.values.texts import Marks

if TYPE_CHECKING:
    from PIL.Image import Image

SETTINGS = ("device", "precision", "seed")
"""Settings of `[run]` that are taken from a manifest; the others concern writing and the network."""

WHY_OFFLINE = "reading a run contacts no host; if you trust it: --online (open_run(online=True))"


@dataclass(frozen=True)
class Grants:
    """What the reader of a run allows it besides reading local files.

    `plugins` are the words of `--plugins`, None for those of the environment, or else all installed ones; `online`
    allows components to use the network; `secrets` are the environment variables that they may read.
    """

    plugins: Sequence[str] | None = None
    online: bool = False
    secrets: Collection[str] = ()

    def manager(self, rundir: RunDir) -> Manager:
        """The reader's plugins. Code that only the manifest names is not loaded; a warning lists it."""
        choice = PluginChoice.of_user(self.plugins)
        left_out = [word for word in rundir.plugin_words() if names_code(word) and word not in choice.words]
        if left_out:
            words = one_line(",".join(left_out))
            logger.warning(
                "%s names code that reading it does not load: %s; if you trust it: --plugins '%s'",
                rundir.manifest_file, words, words
            )  # fmt: skip
        return Manager.discover(choice)

    def check(self, config: ComponentConfig) -> None:
        """Raise `ConfigError` if a component would use a host or a secret that the reader has not allowed."""
        withheld = {name: variable for name, variable in config.secrets.items() if variable not in self.secrets}
        known = config.options.model_dump(exclude=set(withheld))
        hosts = [] if self.online else list(dict.fromkeys(_hosts(known)))
        if not hosts and not withheld:
            return
        wants = [f"to ask {host}" for host in hosts]
        wants += [f"to be given the environment variable {variable}" for variable in withheld.values()]
        flags = [*(["--online"] if hosts else []), *(f"--secret {variable}" for variable in withheld.values())]
        raise ConfigError(
            one_line(
                f"{config.place}: run.json wants {config.use} {' and '.join(wants)}; reading a run contacts no host "
                f"and gives away no secret; if you trust it: {' '.join(flags)} (open_run(online=..., secrets=...))"
            )
        )

    def context(self, context: Context) -> Context:
        """The context of a component, restricted to what is granted."""
        return replace(
            context, offline=not self.online, why_offline=WHY_OFFLINE, environment=_Environment(self.secrets)
        )

    def stand_ins(self) -> Mapping[str, str]:
        """The environment for `resolve`: variables that are not granted have a placeholder; `check` rejects those."""
        return _Environment(self.secrets, stand_in="withheld from the run that is read")


class _Environment(Mapping[str, str]):
    """The granted variables. Any other one that is set has a placeholder as its value, or raises `ConfigError`."""

    def __init__(self, granted: Collection[str], stand_in: str = "") -> None:
        self._granted = granted
        self._stand_in = stand_in

    def __getitem__(self, name: str) -> str:
        if name in self._granted or (name not in os.environ and not self._stand_in):
            return os.environ[name]
        if self._stand_in:
            return self._stand_in
        raise ConfigError(f"reading a run gives away no secret; if you trust it: --secret {one_line(name)}")

    def __iter__(self) -> Iterator[str]:
        return (name for name in self._granted if name in os.environ)

    def __len__(self) -> int:
        return sum(1 for _ in self)


@dataclass
class GrantedComponents(Components):
    """The components of a run that is read, restricted to what the reader grants."""

    grants: Grants = field(default_factory=Grants)

    def build(self, config: ComponentConfig, **changes: Any) -> Any:
        """Like `Components.build`; raises `ConfigError` for a component that needs more than is granted."""
        self.grants.check(config)
        return super().build(config, **changes)

    @property
    def log(self) -> None:
        """Reading writes nothing."""
        return

    def context(self, config: ComponentConfig) -> Context:
        """Like `Components.context`, restricted to what is granted."""
        return self.grants.context(super().context(config))


class FinishedDataset(Dataset):
    """The images of a run that is read; `without_images` says why they are stand-ins that only have ids."""

    without_images = ""
    most_held = sys.maxsize - 1
    """Who reads a run is given a list of them."""

    @cached_property
    def spaces(self) -> list[FeatureSpace]:
        """The feature spaces from the manifest, without building the extractor."""
        return self._components.rundir.spaces()

    @cached_property
    def extracted(self) -> Images:
        """As a finished extraction has recorded them: its store need not be there, or may be empty by now."""
        rundir = self._components.rundir
        if "finished" not in rundir.read_manifest()["stages"].get("extract", {}):
            return super().extracted
        return self.items.only(Marks(self.items.where, rundir.extracted_ids()).mask)


class LastingDataset(FinishedDataset):
    """As far as its images can no longer be listed, their ids alone: features and tables still refer to them."""

    @cached_property
    def items(self) -> Images:
        """All images of the run."""
        try:
            return super().items
        except (SaevizError, OSError) as error:
            self.without_images = str(error)
            logger.warning("there are no pictures and ratings: %s", one_line(self.without_images))
            rundir = self._components.rundir
            gone = partial(_gone, self.without_images)
            return Images(Listing([ImageItem(item_id, gone) for item_id in rundir.extracted_ids()]))


def _gone(reason: str) -> Image:
    raise ImageError(reason)


@dataclass
class ReadingSession(Session):
    """A session that reads a run, restricted to what the reader grants; writes nothing."""

    grants: Grants = field(default_factory=Grants)
    even_without_images: bool = False

    @cached_property
    def components(self) -> Components:
        """The components, built when first used, if granted."""
        return GrantedComponents(self.config, self.manager, self.rundir, self.failed, self.progress, grants=self.grants)

    @cached_property
    def dataset(self) -> FinishedDataset:
        """The images, and which of them have features."""
        kind = LastingDataset if self.even_without_images else FinishedDataset
        return kind(self.components, self.digests, self.limit)

    def failed(self, subject: str, error: str) -> None:
        """Log the failure."""
        logger.warning("%s: left out: %s", one_line(subject), one_line(error))


class ReadConfig(RunConfig):
    """The configuration of a run that is read; each table is resolved when first used.

    So a damaged table or a missing plugin affects only what needs it.
    """

    def __init__(self, resolved: Callable[[str], Any]) -> None:
        object.__setattr__(self, "_resolved", resolved)

    def __getattr__(self, name: str) -> Any:
        """A table of the run file."""
        if name not in RunConfig.__dataclass_fields__:
            raise AttributeError(name)
        found = self._resolved(name)
        object.__setattr__(self, name, found)
        return found


def opened(place: str | Path) -> RunDir:
    """The run directory at a path, or the last state of one at an address of an object store, which is fetched.

    Raises `ConfigError` if there is none.
    """
    if not is_address(place):
        return RunDir.open(Path(place))
    own = environment_layer(os.environ, Path.cwd()).tables.get("run", {})
    kept = own.get("cache_dir")
    cache_dir = absolute(str(kept), Path.cwd()) if kept else default_cache_dir()
    return fetched_run(str(place), cache_dir, offline=own.get("offline") is True)


def read_run(rundir: RunDir, grants: Grants) -> Run:
    """Open a run that may be untrusted, restricted to what its reader grants."""
    return Run(rundir, partial(reading_session, rundir, grants, "embeddings", "second_embeddings"))


def reading_session(rundir: RunDir, grants: Grants, *also: str, even_without_images: bool = False) -> ReadingSession:
    """A session with the components of the manifest that reading needs, and those of `also`, but no others."""
    given, manager = rundir.config(), grants.manager(rundir)

    def resolved(table: str) -> Any:
        if table == "run":
            return _settings(rundir, given.get("run"), manager)
        if table in LISTS:
            return ()
        if table == EXTRACTORS:
            tables = {name: given[name] for name in ("extractor", EXTRACTORS) if name in given}
            layers = [Layer(tables, Path(), str(rundir.manifest_file))]
            return resolve_extractors(layers, manager, grants.stand_ins())
        if table not in ("images", "store", *also) or given.get(table) == {"use": "none"}:
            return None
        layers = [Layer({table: given.get(table, {})}, Path(), str(rundir.manifest_file))]
        return resolve_component(table, table, layers, manager, grants.stand_ins())

    limit = rundir.read_manifest().get("limit")
    known = isinstance(limit, int) and 0 < limit <= sys.maxsize
    return ReadingSession(
        ReadConfig(resolved),
        manager,
        rundir,
        limit if known else None,
        grants=grants,
        even_without_images=even_without_images,
    )


def _settings(rundir: RunDir, given: Any, manager: Manager) -> RunSettings:
    """The relevant settings of the manifest, overridden by the reader's own."""
    given = given if isinstance(given, Mapping) else {}
    counting = {name: given[name] for name in SETTINGS if name in given}
    own = environment_layer(os.environ, Path.cwd()).tables.get("run", {})
    layers = [
        Layer({"run": counting}, Path(), str(rundir.manifest_file)),
        Layer({"run": own}, Path.cwd(), "the environment"),
    ]
    return resolve_settings(layers, manager)


ADDRESSES = re.compile(r"(^|_)(url|uri|dsn|host|hostname|server|endpoint|address|proxy)$")
"""Names of options that hold an address, with or without a scheme."""


def _hosts(value: Any, name: str = "") -> Iterator[str]:
    """The hosts in option values that are addresses of web servers, databases or network shares."""
    if isinstance(value, SecretStr | PurePath):
        value = value.get_secret_value() if isinstance(value, SecretStr) else str(value)
    if isinstance(value, Mapping):
        yield from _hosts(list(value))
        for key, part in value.items():
            yield from _hosts(part, str(key))
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _hosts(part, name)
    elif isinstance(value, str) and ("://" in value or value.startswith(("//", "\\\\"))):
        yield _host(value)
    elif isinstance(value, str) and value and ADDRESSES.search(name):
        yield _host(f"//{value}")


def _host(address: str) -> str:
    """Only the host of an address: user, password and path may contain secrets."""
    text = address.replace("\\", "/")
    try:
        return urlsplit(text[text.index("//") :]).hostname or "the network"
    except ValueError:
        return "the network"
