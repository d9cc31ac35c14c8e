"""The images of a run, and which of them have features; computed once and cached."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from functools import cached_property
from itertools import islice

from saeviz.config.schema import ComponentConfig
from saeviz.contract import handover
from saeviz.contract.roles import DividesIntoShards, ReportsNotes
from saeviz.formats.rundir import digest_of_all
from saeviz.pipeline.components import Components
from saeviz.values.errors import ConfigError, DataError
from saeviz.values.features import FeatureSpace
from saeviz.values.images import ImageItem
from saeviz.values.keys import space_of

logger = logging.getLogger("saeviz")


class Dataset:
    """The images of a run. `digests` are those of its stages; with `limit`, only the first images are used."""

    def __init__(self, components: Components, digests: Mapping[str, str], limit: int | None = None) -> None:
        self._components = components
        self._digests = digests
        self._limit = limit

    @cached_property
    def items(self) -> list[ImageItem]:
        """All images of the run; raises `DataError` if there are none or an id occurs twice."""
        components = self._components
        config, provider = components.config.images, components.images
        with components.blaming(config):
            given = provider.iter_images(limit=self._limit)
        checked = handover.images(components.who(config), components.guarded(config, given))
        items = list(islice(checked, self._limit))
        if isinstance(provider, ReportsNotes):
            for note in provider.notes():
                logger.warning("images: %s", note)
        if not items:
            raise DataError(f"images: {config.use} has no images; look at the table [images] of the run file")
        twice = [item_id for item_id, count in Counter(item.item_id for item in items).items() if count > 1]
        if twice:
            raise DataError(f"images: the item id {twice[0]!r} occurs more than once; ids must be unique")
        return items

    @cached_property
    def by_id(self) -> dict[str, ImageItem]:
        """All images of the run by id."""
        return {item.item_id: item for item in self.items}

    @cached_property
    def part_of(self) -> dict[str, str]:
        """The part of the image provider that each image is in; empty if it has no parts."""
        components = self._components
        provider = components.images
        found: dict[str, str] = {}
        if not isinstance(provider, DividesIntoShards):
            return found
        with components.blaming(components.config.images):
            for name in provider.shards():
                found.update((item.item_id, name) for item in provider.iter_shard(name) if item.item_id in self.by_id)
                if len(found) == len(self.by_id):  # only the first images are used
                    break
        return found

    @cached_property
    def fingerprints(self) -> dict[str, str]:
        """The fingerprint of each picture at the start of the run; a later change is handled by the next run."""
        return {item.item_id: item.fingerprint for item in self.items}

    @cached_property
    def ratings(self) -> list[str]:
        """The names of the ratings, in order of first occurrence."""
        return list(dict.fromkeys(name for item in self.items for name in item.ratings))

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
    def extracted(self) -> list[ImageItem]:
        """The images that have features in every space and are not left out, in the order of the image provider."""
        store, rundir = self._components.store, self._components.rundir
        kept = [set(store.item_ids(space)) for space in self.spaces]
        done = set.intersection(*kept) if kept else set()
        # A picture that changed and can no longer be read still has old features in the store.
        done -= rundir.failures.of("extract")
        return [item for item in self.items if item.item_id in done]

    @cached_property
    def data_digest(self) -> str:
        """Stands for the images that have features, their ratings, their metadata and their groups."""
        return digest_of_all(
            [
                item.item_id,
                self.fingerprints[item.item_id],
                dict(item.ratings),
                dict(item.metadata),
                {name: dict(given) for name, given in item.individual.items()},
                *([] if item.group is None else [item.group]),
            ]
            for item in self.extracted
        )

    def look_again(self) -> None:
        """Forget which images have features, after they have been written, so that the store is asked again."""
        for name in ("extracted", "data_digest"):
            self.__dict__.pop(name, None)
