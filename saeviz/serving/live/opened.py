"""A run as it is served: open for reading, with what its handlers share."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

from saeviz.config.layers import Layer
from saeviz.config.resolve import resolve_component
from saeviz.formats.rundir import RunDir
from saeviz.pipeline.blame import blaming
from saeviz.pipeline.reading import Grants, reading_session
from saeviz.results.reporter import HasViewer
from saeviz.results.run import Run
from saeviz.serving.limits import OneThread
from saeviz.values.errors import ConfigError
from saeviz.values.features import Feature, FeatureSpace
from saeviz.values.images import ImageItem

REPORTER = "explorer"
"""The reporter whose page is shown."""


class Live:
    """A served run. Its `run` is for one thread at a time: `with_store` reads it, `with_model` runs its models."""

    def __init__(self, rundir: RunDir, grants: Grants) -> None:
        self.rundir = rundir
        self.session = reading_session(rundir, grants, "embeddings", "second_embeddings", even_without_images=True)
        self.run = Run(rundir, lambda: self.session)
        self.with_store, self.with_model = OneThread(), OneThread()

    def write_viewer(self, folder: Path) -> Path:
        """Write the page to an empty folder and return its path. Raises `ConfigError` if no reporter has one."""
        rundir, session = self.rundir, self.session
        given = rundir.config().get("reporters")
        own = [one for one in given if isinstance(one, Mapping) and one.get("use") == REPORTER] if given else []
        layer = Layer({"reporter": own[0] if own else {"use": REPORTER}}, Path(), str(rundir.manifest_file))
        config = resolve_component("reporter", "reporter", [layer], session.manager, session.grants.stand_ins())
        reporter = session.components.build(config)
        if not isinstance(reporter, HasViewer):
            raise ConfigError(f"the reporter {REPORTER} has no page that can be served")
        with blaming(f"the reporter {REPORTER}", log=None):
            return reporter.write_viewer(Run(rundir, lambda: session), folder)  # its tables are not kept

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

    def item(self, item_id: str) -> ImageItem | None:
        """The image with this id, None if the run has none."""
        place = self.places.get(item_id)
        return None if place is None else self.run.items[place]

    def has(self, feature: Feature) -> bool:
        """Whether the run has this feature."""
        space = self.spaces.get(feature.space_name)
        return space is not None and feature.index < space.n_features

    def close(self) -> None:
        """Close the components."""
        self.session.close()
