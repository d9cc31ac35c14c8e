"""Contract test suites, one per role, and fake components that need no model, for authors of plugins.

To test a component, subclass its role's contract and define one fixture::

    from saeviz.testing import FeatureStoreContract

    class TestMyStore(FeatureStoreContract):
        @pytest.fixture
        def open_store(self, tmp_path):
            return lambda: MyStore(MyOptions(path=tmp_path), saeviz.Context())

A check that the component is known not to pass goes into `expected_failures` of the subclass, with the reason.

`run_with` makes a whole tiny run around one component, `random_sae` an SAE to try an extractor with. The suites need
pytest; these, `saeviz.testing.fakes` and `saeviz.testing.data` do not.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from saeviz.testing.blocks import check_blocks
    from saeviz.testing.embedders import EmbeddingProviderContract
    from saeviz.testing.executors import ExecutorContract
    from saeviz.testing.extractors import FeatureExtractorContract
    from saeviz.testing.images import DividesIntoShardsContract, ImageProviderContract
    from saeviz.testing.labelers import LabelerContract
    from saeviz.testing.merging import MergingScorerContract
    from saeviz.testing.reporters import ReporterContract
    from saeviz.testing.running import run_with
    from saeviz.testing.saes import random_sae
    from saeviz.testing.scorers import HoldsOutContract, ScorerContract
    from saeviz.testing.selectors import SelectorContract
    from saeviz.testing.stores import FeatureStoreContract
    from saeviz.testing.writers import ManyWritersContract

_HOMES = {
    "DividesIntoShardsContract": "images",
    "EmbeddingProviderContract": "embedders",
    "ExecutorContract": "executors",
    "FeatureExtractorContract": "extractors",
    "FeatureStoreContract": "stores",
    "HoldsOutContract": "scorers",
    "ImageProviderContract": "images",
    "LabelerContract": "labelers",
    "ManyWritersContract": "writers",
    "MergingScorerContract": "merging",
    "ReporterContract": "reporters",
    "ScorerContract": "scorers",
    "SelectorContract": "selectors",
    "check_blocks": "blocks",
    "random_sae": "saes",
    "run_with": "running",
}

__all__ = [
    "DividesIntoShardsContract",
    "EmbeddingProviderContract",
    "ExecutorContract",
    "FeatureExtractorContract",
    "FeatureStoreContract",
    "HoldsOutContract",
    "ImageProviderContract",
    "LabelerContract",
    "ManyWritersContract",
    "MergingScorerContract",
    "ReporterContract",
    "ScorerContract",
    "SelectorContract",
    "check_blocks",
    "random_sae",
    "run_with",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = f"{__name__}.{_HOMES[name]}"
    if module not in sys.modules and name.endswith("Contract"):
        import pytest

        pytest.register_assert_rewrite(module)
    return getattr(import_module(module), name)
