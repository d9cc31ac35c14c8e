"""What reading a run needs of its components, which the rooms above build."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from saeviz.config.schema import RunConfig
    from saeviz.contract.roles import FeatureExtractor, ImageProvider
    from saeviz.discovery.manager import Manager
    from saeviz.values.features import FeatureBatch, FeatureSpace
    from saeviz.values.images import ImageItem


class Opened(Protocol):
    """The parts of an open run that reading needs."""

    config: RunConfig
    manager: Manager

    @property
    def components(self) -> Built:
        """The components."""
        ...

    @property
    def dataset(self) -> Images:
        """The images."""
        ...


class Built(Protocol):
    """The components of a run, each built when it is first used."""

    @property
    def images(self) -> ImageProvider:
        """The image provider."""
        ...

    @property
    def extractor(self) -> FeatureExtractor:
        """The feature extractor."""
        ...

    def peer(self, table: str) -> Any:
        """That of a table of the run file, with checked results; raises `ConfigError` if there is none."""
        ...

    @property
    def store(self) -> Readable:
        """The feature store."""
        ...


class Images(Protocol):
    """The images of a run."""

    @property
    def by_id(self) -> Mapping[str, ImageItem]:
        """Every image by its id."""
        ...

    @property
    def extracted(self) -> Sequence[ImageItem]:
        """The images that have features."""
        ...

    @property
    def ratings(self) -> Sequence[str]:
        """The names of the ratings."""
        ...


class Readable(Protocol):
    """The parts of a feature store that reading needs."""

    def read(self, space: FeatureSpace, item_ids: Sequence[str] | None = None) -> Iterator[FeatureBatch]:
        """The batches of a space; with `item_ids` exactly these, in this order."""
        ...

    def item_ids(self, space: FeatureSpace) -> Sequence[str]:
        """The items stored for a space."""
        ...
