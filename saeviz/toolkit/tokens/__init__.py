"""Extractors of SAE features from the tokens of any vision model: the author writes how the model gives its tokens.

`TokenExtractor` does the rest, by `SAEOptions`. `docs/how-to/write-an-extractor.md` has an example.
"""

from __future__ import annotations

from saeviz.toolkit.sae.options import HookPoint
from saeviz.toolkit.tokens.extractor import TokenExtractor
from saeviz.toolkit.tokens.model import ModelInfo, TokenGrid, recorded

__all__ = ["HookPoint", "ModelInfo", "TokenExtractor", "TokenGrid", "recorded"]
