"""A run with the fake extractor (32 features) and fake embeddings: saeviz itself without a model."""

RUN_FILE = """
[run]
cache = false
[plugins]
use = ["module:saeviz.testing.fakes"]
[extractor]
use = "fake-extractor"
[embeddings]
use = "fake-embeddings"
[[scorers]]
use = "pearson-bh"
[[scorers]]
use = "partial"
control = ["noise"]
[[scorers]]
use = "monosemanticity"
"""
"""A benchmark says which images, adds to the options of `monosemanticity`, and adds scorers after it."""
