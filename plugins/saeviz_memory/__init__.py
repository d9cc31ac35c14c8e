"""The store `memory`: features in this process and nowhere else."""

from __future__ import annotations

from collections.abc import Iterator

import saeviz


@saeviz.hookimpl
def saeviz_feature_stores() -> Iterator[saeviz.FeatureStoreSpec]:
    """The store `memory`."""
    yield saeviz.FeatureStoreSpec(
        name="memory",
        summary="features in memory, lost when the process ends; for notebooks and tests",
        factory="saeviz_memory.store:MemoryStore",
    )
