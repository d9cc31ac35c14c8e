"""Use saeviz from Python: a single component, or a whole run."""

from __future__ import annotations

import logging
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from saeviz.config.layers import Layer, assignment_layer, environment_layer, plugin_words, read_run_file
from saeviz.config.resolve import check_needs, resolve
from saeviz.config.schema import Address, RunConfig
from saeviz.contract.context import Context
from saeviz.discovery.manager import Manager
from saeviz.discovery.sources import PluginChoice
from saeviz.formats.files import explain_disk_errors
from saeviz.formats.mirror import MirroredRunDir, fetched, mirror_of
from saeviz.formats.paths import default_cache_dir
from saeviz.formats.plain import OneLineFormatter
from saeviz.formats.rundir import RunDir
from saeviz.pipeline.parts import Part
from saeviz.pipeline.reading import Grants, opened, read_run
from saeviz.pipeline.run import Plan, run_stages
from saeviz.pipeline.run_part import check_stages, run_part
from saeviz.pipeline.session import Session
from saeviz.results.run import Run
from saeviz.values.errors import ConfigError, SaevizError


@dataclass(frozen=True)
class Prepared:
    """A validated run, ready to be executed."""

    config: RunConfig
    manager: Manager
    directory: Path

    @property
    def address(self) -> Address | None:
        """That of a run directory in an object store; `directory` is its mirror on this machine then."""
        return self.config.run.dir if isinstance(self.config.run.dir, Address) else None

    def rundir(self) -> RunDir:
        """The run directory, to work in."""
        if self.address is None:
            return RunDir.create(self.directory)
        return MirroredRunDir(self.directory, self.address, offline=self.config.run.offline)

    def as_it_is(self) -> RunDir:
        """The run directory as it is, which there need not be: to read, and for a part to put its shards into."""
        if self.address is None:
            RunDir.check(self.directory)
            return RunDir(self.directory)
        offline = self.config.run.offline
        found = fetched(self.address, _cache_dir(self.config), offline=offline)
        return MirroredRunDir(found or self.directory.with_name("none"), self.address, offline=offline)


def component(
    role: str, name: str, *, context: Context | None = None, plugins: Sequence[str] = (), **options: Any
) -> Any:
    """Build one component by name, for use without a run.

    ::

        extractor = saeviz.component("extractor", "clip-b32-prisma", layers=[11])

    `role` is one of images, extractor, store, embeddings, scorer, selector, labeler, reporter, executor; `plugins` as
    in `--plugins`. Raises `ConfigError` for an unknown name or an invalid option, and `PluginError` if packages that
    the component needs are not installed.
    """
    manager = Manager.discover(choose_plugins(plugins or None, []))
    return manager.build(role, name, options, context or Context())


def run(
    source: str | Path | Mapping[str, Any],
    *,
    settings: Sequence[str] = (),
    plugins: Sequence[str] | None = None,
    plan: Plan | None = None,
    limit: int | None = None,
) -> Run:
    """Run the pipeline described by a run file, or by a dictionary of the same form, and return the finished run.

    `settings` are assignments as in `--set`. Images and features that were left out are in `run.failures`.
    """
    base = Path.cwd()
    layer = Layer(source, base, "the settings") if isinstance(source, Mapping) else read_run_file(Path(source))
    layers = [layer, assignment_layer(settings, base)]
    return execute(prepare(layers, plugins), plan or Plan(), limit=limit)


def open_run(
    directory: str | Path,
    *,
    plugins: Sequence[str] | None = None,
    online: bool = False,
    secrets: Collection[str] = (),
) -> Run:
    """Open a run directory for reading. Raises `ConfigError` if it is not a run directory.

    Of a run directory in an object store (`s3://`, `gs://`), the last state is fetched to the cache of this machine.

    The directory may be untrusted: its files are treated as data. Components that it names are built only when needed,
    from installed plugins and `plugins`, as in `--plugins`. They can use the network only if `online` is set, and read
    only the environment variables in `secrets`.
    """
    return read_run(opened(directory), Grants(plugins, online, secrets))


def prepare(
    layers: Sequence[Layer], plugins: Sequence[str] | None = None, secrets_of: Collection[str] | None = None
) -> Prepared:
    """Validate everything that can be checked without loading a model. Raises `ConfigError` with all mistakes.

    Later `layers` override earlier ones; the environment comes directly after the first, the run file. With
    `secrets_of`, only the secrets of these tables are read.
    """
    layers = [*layers[:1], environment_layer(os.environ, Path.cwd()), *layers[1:]]
    manager = Manager.discover(choose_plugins(plugins, layers))
    config = resolve(layers, manager, secrets_of=secrets_of)
    check_needs(config, manager)
    manager.load_all((one.role, one.use, one.place) for one in config.components())
    directory = config.run.dir
    if directory is None:
        raise ConfigError("run.dir: set the run directory, in the run file or with --out")
    if isinstance(directory, Address):
        directory = mirror_of(directory, _cache_dir(config))
    return Prepared(config, manager, directory)


def _cache_dir(config: RunConfig) -> Path:
    return config.run.cache_dir or default_cache_dir()


def execute(
    prepared: Prepared, plan: Plan, *, limit: int | None = None, show_progress: bool = False, gathers: bool = False
) -> Run:
    """Run the stages of a prepared run and open it. With `gathers`, all parts of the run must have been made.

    Of a run that fails before its first stage, such as by a misspelt rating, no run directory is left.
    """
    rundir = prepared.rundir()
    session = Session(prepared.config, prepared.manager, rundir, limit, show_progress, gathers=gathers)
    with rundir.locked(), rundir.removed_if_unused(), _log_to(rundir.log):
        try:
            run_stages(session, plan)
        finally:
            session.close()
    return Run(rundir, lambda: Session(prepared.config, prepared.manager, rundir, limit))


def choose_plugins(plugins: Sequence[str] | None, layers: Sequence[Layer]) -> PluginChoice:
    """The plugins of the run file, of the environment and of the command line, which add up."""
    return PluginChoice.of_all(plugins, plugin_words(layers))


def execute_part(
    prepared: Prepared, part: Part, plan: Plan, *, limit: int | None = None, show_progress: bool = False
) -> int:
    """Make the shards of one part of a prepared run; returns the number of images that were left out.

    Other parts may be made at the same time, and the same one, too.
    """
    check_stages(plan.names)
    rundir = prepared.rundir() if prepared.address is None else prepared.as_it_is()
    rundir.refuse_oddities()
    name = f"{part.name}.log"
    rundir.log = rundir.path / "shards" / name if prepared.address is None else Path(name)
    session = Session(prepared.config, prepared.manager, rundir, limit, show_progress)
    with _log_of_part(prepared, rundir, name):
        try:
            return run_part(session, part, plan.names, plan.redo)
        finally:
            session.close()


@contextmanager
def _log_of_part(prepared: Prepared, rundir: RunDir, name: str) -> Iterator[None]:
    """Log to a file beside the shards; in an object store it is there when the part ends."""
    if prepared.address is None:
        folder = rundir.path / "shards"
        with explain_disk_errors(folder):
            folder.mkdir(exist_ok=True)
        with _log_to(rundir.log):
            yield
        return
    with TemporaryDirectory(prefix="saeviz-") as temporary:
        log = Path(temporary) / name
        try:
            with _log_to(log):
                yield
        finally:
            with rundir.shards.writing(name) as file:
                file.write(log.read_bytes())


@contextmanager
def _log_to(path: Path) -> Iterator[None]:
    logger = logging.getLogger("saeviz")
    with explain_disk_errors(path):
        handler = logging.FileHandler(path, encoding="utf-8", errors="backslashreplace")
    handler.setLevel(logging.DEBUG)
    handler.setFormatter(OneLineFormatter("%(asctime)s %(levelname)s %(message)s"))
    level = logger.level
    logger.setLevel(logging.DEBUG)
    logger.addHandler(handler)
    try:
        yield
    except (SaevizError, KeyboardInterrupt) as error:  # who calls tells it to the user
        handler.handle(logger.makeRecord("", logging.ERROR, "", 0, str(error) or "interrupted", (), None))
        raise
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        handler.close()
