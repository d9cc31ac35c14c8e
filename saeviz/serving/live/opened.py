"""A run as it is served: open for reading, with what its handlers share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock
from typing import TYPE_CHECKING, Any

from saeviz.cache.copies import Copies
from saeviz.config.layers import Layer
from saeviz.config.resolve import resolve_component
from saeviz.config.schema import ComponentConfig
from saeviz.formats.by_feature import ByFeature, write_by_feature
from saeviz.formats.labels import LabelLine
from saeviz.formats.objects import is_address
from saeviz.formats.paths import default_cache_dir
from saeviz.formats.plain import one_line
from saeviz.formats.rundir import RunDir, digest_of
from saeviz.pipeline.blame import blaming
from saeviz.pipeline.reading import Grants, reading_session
from saeviz.pipeline.session import Session, logger
from saeviz.results.reporter import HasViewer
from saeviz.results.run import Run
from saeviz.serving.limits import OneThread
from saeviz.values.errors import ConfigError, DataError, RunDirError
from saeviz.values.features import Feature, FeatureBatch, FeatureSpace
from saeviz.values.images import ImageItem

if TYPE_CHECKING:
    from saeviz.contract.roles import FeatureExtractor
    from saeviz.serving.live.partner import Other
    from saeviz.typing import Float32Array

REPORTER = "html"
"""The reporter whose page is shown."""


class Live:
    """A served run. Its `run` is for one thread at a time: `with_store` reads it, `with_model` runs its models.

    `prepare` has to be called first. `labeler` opens the run as its own run file does, to have features named again,
    which are `named_again` then. `other` is the run that is served beside this one.
    """

    by_feature: ByFeature
    page: Path

    def __init__(self, rundir: RunDir, grants: Grants, labeler: Callable[[], Session] | None = None) -> None:
        self.rundir = rundir
        self.name = rundir.place.rpartition("/")[2] if is_address(rundir.place) else rundir.path.resolve().name
        self.labeler = labeler
        self.other: Other | None = None
        self.named_again: dict[Feature, LabelLine] = {}
        self.session = reading_session(rundir, grants, "embeddings", "second_embeddings", even_without_images=True)
        self.run = Run(rundir, lambda: self.session)
        self.with_store, self.with_model = OneThread(), OneThread()
        self._embedding = Lock()
        self._own = TemporaryDirectory(prefix="saeviz-serve-")
        self.viewer = Path(self._own.name, "viewer")

    def prepare(self) -> None:
        """Order the features and write the page, which takes a while for a large run."""
        self.by_feature = self._ordered()
        self.viewer.mkdir()
        self.page = self._write_viewer(self.viewer)

    def _ordered(self) -> ByFeature:
        """From the cache or, where that is full, cannot be written or is being written, from a temporary folder."""
        settings = self.session.config.run
        record = self.rundir.read_manifest()["stages"].get("extract")
        run, state = digest_of(str(self.rundir.path.resolve())), digest_of([record, list(self.places)])
        if settings.cache:
            try:
                return Copies(settings.cache_dir or default_cache_dir()).opened(run, state, self._order)
            except (ConfigError, RunDirError) as error:
                logger.warning("features are ordered in a temporary folder instead: %s", one_line(str(error)))
        return Copies(Path(self._own.name)).opened(run, state, self._order)

    def _order(self, folder: Path) -> None:
        ids = list(self.places)

        def batches(space: FeatureSpace) -> Iterator[FeatureBatch]:
            logger.info("ordering %s of %d images by feature", space, len(ids))
            yield from self.run.batches(space, ids)

        write_by_feature(folder, [(space, batches(space)) for space in self.run.spaces])

    def _write_viewer(self, folder: Path) -> Path:
        """Write the page to an empty folder and return its path. Raises `ConfigError` if no reporter has one."""
        rundir, session = self.rundir, self.session
        config = self._reporter()
        reporter = session.components.build(config)
        if not isinstance(reporter, HasViewer):
            raise ConfigError(f"the reporter {REPORTER} has no page that can be served")
        with blaming(f"the reporter {REPORTER}", log=None):
            return reporter.write_viewer(Run(rundir, lambda: session), folder)  # its tables are not kept

    def _reporter(self) -> ComponentConfig:
        """The reporter as the run has it, or else, or if its options are not valid, with its default options."""
        given = self.rundir.config().get("reporters")
        own = [one for one in given if isinstance(one, Mapping)] if isinstance(given, list) else []
        table = next((one for one in own if one.get("use") == REPORTER), {"use": REPORTER})
        try:
            return self._resolved(table)
        except ConfigError as error:
            logger.warning("the page has its default options: %s", one_line(str(error)))
            return self._resolved({"use": REPORTER})

    def _resolved(self, table: Mapping[str, Any]) -> ComponentConfig:
        layer = Layer({"reporter": table}, Path(), str(self.rundir.manifest_file))
        manager, grants = self.session.manager, self.session.grants
        return resolve_component("reporter", "reporter", [layer], manager, grants.stand_ins())

    @cached_property
    def spaces(self) -> dict[str, FeatureSpace]:
        """The feature spaces by name."""
        return {str(space): space for space in self.run.spaces}

    @cached_property
    def rows(self) -> dict[str, int]:
        """The row of the first feature of each space in a table of all features, by the name of the space."""
        rows, n = {}, 0
        for name, space in self.spaces.items():
            rows[name] = n
            n += space.n_features
        return rows

    @cached_property
    def places(self) -> dict[str, int]:
        """The place of each image among the images of the run, by its id."""
        return {item.item_id: place for place, item in enumerate(self.run.items)}

    @property
    def directions(self) -> Float32Array | None:
        """The embeddings of the images at length 1, zeros where one is missing; None in a run without embeddings.

        For any thread.
        """
        with self._embedding:
            return self._directions

    @cached_property
    def _directions(self) -> Float32Array | None:
        import numpy as np

        try:
            found = Run(self.rundir, lambda: self.session).embeddings  # `self.run` would keep them, too
        except RunDirError as error:
            logger.info("no similar images: %s", error)
            return None
        np.nan_to_num(found, copy=False, posinf=0, neginf=0)
        lengths = np.linalg.norm(found, axis=1, keepdims=True)
        found /= np.where(lengths == 0, 1, lengths)
        return found

    def extractors(self) -> Iterator[tuple[str, FeatureExtractor]]:
        """Each extractor of the run, giving its spaces the names they have here, with who is to blame if it fails."""
        for config in self.session.config.extractors:
            yield f"{config.place}: {config.use}", self.session.components.extractor_of(config)

    def extractor_of(self, space: FeatureSpace) -> tuple[str, FeatureExtractor]:
        """That of a space, as `extractors` gives it."""
        found = list(self.extractors())
        if len(found) == 1:
            return found[0]
        for who, extractor in found:
            with blaming(who, log=None):
                if space in extractor.spaces:
                    return who, extractor
        raise DataError(f"no extractor of this run gives features of {space} any more")

    def item(self, item_id: str) -> ImageItem | None:
        """The image with this id, None if the run has none."""
        place = self.places.get(item_id)
        return None if place is None else self.run.items[place]

    def has(self, feature: Feature) -> bool:
        """Whether the run has this feature."""
        space = self.spaces.get(feature.space_name)
        return space is not None and feature.index < space.n_features

    def largest(self, feature: Feature) -> float:
        """The largest activation of a feature on an image of the run, 0 if it never fires."""
        _, values = self.by_feature.images_of(feature.space_name, feature.index)
        return float(values[0]) if len(values) else 0.0

    def close(self) -> None:
        """Close the components, and remove what was written to be served."""
        self.session.close()
        self._own.cleanup()
