"""The images of a run, and which of them have features; computed once and cached."""

from __future__ import annotations

import logging
from array import array
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from itertools import islice
from typing import ClassVar

from saeviz.config.schema import ComponentConfig
from saeviz.contract import handover
from saeviz.contract.roles import DividesIntoShards, ReportsNotes
from saeviz.formats.plain import quoted
from saeviz.formats.rundir import digest_of_all
from saeviz.pipeline.components import Components
from saeviz.pipeline.images import Images, Listing
from saeviz.values.errors import ConfigError, DataError, PluginError
from saeviz.values.features import FeatureSpace
from saeviz.values.images import ImageItem
from saeviz.values.keys import space_of
from saeviz.values.texts import Marks

logger = logging.getLogger("saeviz")


class Dataset:
    """The images of a run. `digests` are those of its stages; with `limit`, only the first images are used.

    More than `most_held` are not held in memory but listed again whenever something is to be done with each of them.
    """

    most_held: ClassVar[int] = 4096

    def __init__(self, components: Components, digests: Mapping[str, str], limit: int | None = None) -> None:
        self._components = components
        self._digests = digests
        self._limit = limit
        self._parts: list[str] = []
        self._part_codes = array("l")

    @cached_property
    def items(self) -> Images:
        """All images of the run; raises `DataError` if there are none, and `PluginError` if an id occurs twice."""
        components = self._components
        config, provider = components.config.images, components.images
        listing = Listing.of(self._listed(), self.most_held, self._given, self._found)
        with components.blaming(config):
            noted = provider.notes() if isinstance(provider, ReportsNotes) else ()
            notes = handover.listed(components.who(config), "notes", noted, str)
        for note in notes:
            logger.warning("images: %s", note)
        if not listing.ids:
            raise DataError(f"images: {config.use} has no images; look at the table [images] of the run file")
        twice = listing.where.first_repeated()
        if twice is not None:
            raise PluginError(f"{components.who(config)} gave the item id {quoted(twice)} more than once")
        return Images(listing)

    @cached_property
    def by_id(self) -> dict[str, ImageItem]:
        """All images of the run by id: for readers of a run, which hold them."""
        return {item.item_id: item for item in self.items}

    def parts_of(self, item_ids: Sequence[str]) -> tuple[str, ...]:
        """The parts of the image provider that some images are in; empty if it has no parts."""
        if not self._parts:
            return ()
        places = self.items.where.of(item_ids)
        codes = dict.fromkeys(self._part_codes[place] for place in places.tolist() if place >= 0)
        return tuple(self._parts[code] for code in codes)

    def fingerprints_of(self, item_ids: Sequence[str]) -> dict[str, str]:
        """The fingerprints that these pictures had at the start of the run."""
        places = self.items.where.of(item_ids)
        return dict(zip(item_ids, self.items.listing.fingerprints.take(places), strict=True))

    @cached_property
    def ratings(self) -> list[str]:
        """The names of the ratings, in order of first occurrence."""
        return list(self.items.listing.rated)

    @cached_property
    def spaces(self) -> list[FeatureSpace]:
        """The feature spaces of the run, from the manifest or else from the extractors."""
        components = self._components
        record = components.rundir.read_manifest()["stages"].get("extract", {})
        if record.get("digest") == self._digests.get("extract") and "spaces" in record:
            return [space_of(space) for space in record["spaces"]]
        found: dict[str, tuple[FeatureSpace, str]] = {}
        for config in components.config.extractors:
            for space in self.spaces_of(config):
                if str(space) in found:
                    raise ConfigError(
                        f"{found[str(space)][1]} and {config.place} both have the space {space}; "
                        "give one of the extractors another name"
                    )
                found[str(space)] = space, config.place
        return sorted(space for space, _ in found.values())

    def spaces_of(self, config: ComponentConfig) -> list[FeatureSpace]:
        """The feature spaces of one of the run's extractors."""
        components = self._components
        with components.blaming(config):
            return handover.spaces(components.who(config), components.extractor_of(config).spaces)

    def numbers_of_images(self, config: ComponentConfig) -> dict[FeatureSpace, list[str]]:
        """The names of the numbers of images that one of the run's extractors gives with the features of each space."""
        components = self._components
        with components.blaming(config):
            who, extractor = components.who(config), components.extractor_of(config)
            return {space: handover.numbers_of_images(who, extractor, space) for space in self.spaces_of(config)}

    @cached_property
    def extracted(self) -> Images:
        """The images that have features in every space and are not left out, in the order of the image provider."""
        store, rundir, items = self._components.store, self._components.rundir, self.items
        for space in self.spaces:
            items = items.only(Marks(items.where, store.item_ids(space)).mask)
        # A picture that changed and can no longer be read still has old features in the store.
        return items.without(rundir.failures.of("extract"))

    @cached_property
    def data_digest(self) -> str:
        """Stands for the images that have features, their ratings, their metadata and their groups."""
        return digest_of_all(
            [
                item.item_id,
                fingerprint,
                dict(item.ratings),
                dict(item.metadata),
                {name: dict(given) for name, given in item.individual.items()},
                *([] if item.group is None else [item.group]),
            ]
            for item, fingerprint in zip(self.extracted, self.extracted.fingerprints, strict=True)
        )

    def look_again(self) -> None:
        """Forget which images have features, after they have been written, so that the store is asked again."""
        for name in ("extracted", "data_digest"):
            self.__dict__.pop(name, None)

    def _given(self) -> Iterator[ImageItem]:
        """The images of the provider, checked."""
        components = self._components
        config, provider = components.config.images, components.images
        with components.blaming(config):
            given = handover.images(components.who(config), provider.iter_images(limit=self._limit))
        yield from islice(components.guarded(config, given), self._limit)

    def _found(self, item_id: str) -> ImageItem | None:
        """The image that the provider has of an id, checked."""
        components = self._components
        config = components.config.images
        with components.blaming(config):
            return handover.image(components.who(config), components.images.get_image(item_id), item_id)

    def _listed(self) -> Iterator[ImageItem]:
        """As `_given`, for the first time: with the parts in which they are, if the provider has parts."""
        components = self._components
        config, provider = components.config.images, components.images
        if not isinstance(provider, DividesIntoShards):
            yield from self._given()
            return
        with components.blaming(config):
            self._parts = handover.listed(components.who(config), "shards", provider.shards(), str)
        for code, name in enumerate(self._parts):
            with components.blaming(config):
                given = handover.images(components.who(config), provider.iter_shard(name), "iter_shard")
            for item in components.guarded(config, given):
                if len(self._part_codes) == self._limit:
                    return
                self._part_codes.append(code)
                yield item
