"""The file formats of SAEs: one module each, one line in `FORMATS`.

A format module has `CONFIG_NAMES` and `WEIGHTS_NAMES` (files to look for, best first; the same where one file holds
both) and the three functions of `SAEFormat`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from saeviz_vit.saes.formats import clip_topk, dictionary_learning, overcomplete, prisma, saelens, saev, visaebench
from saeviz_vit.saes.sae import SAEConfig, SAEWeights


class SAEFormat(Protocol):
    """One file format."""

    CONFIG_NAMES: tuple[str, ...]
    WEIGHTS_NAMES: tuple[str, ...]

    def claims(self, path: Path) -> bool:
        """Whether any given file is a config of this format. Reads little of it and trusts nothing."""
        ...

    def read_config(self, path: Path) -> SAEConfig:
        """What the SAE was trained on. Raises `DataError` for anything missing, unknown or not supported."""
        ...

    def read_weights(self, path: Path) -> SAEWeights:
        """The arrays, from a weights file; a separate config is in the same folder."""
        ...


FORMATS: tuple[SAEFormat, ...] = (
    visaebench,
    prisma,
    dictionary_learning,
    saelens,
    saev,
    overcomplete,
    clip_topk,
)
