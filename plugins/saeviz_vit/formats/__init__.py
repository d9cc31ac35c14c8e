"""The file formats of SAEs: one module each, one line in `FORMATS`.

A format module has `CONFIG_NAMES` and `WEIGHTS_NAMES` (files to look for, best first),
`read_config(path) -> SAEConfig` and `read_weights(path) -> SAEWeights`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from saeviz_vit.formats import prisma
from saeviz_vit.sae import SAEConfig, SAEWeights


class SAEFormat(Protocol):
    """How SAEs of one origin are stored."""

    CONFIG_NAMES: tuple[str, ...]
    WEIGHTS_NAMES: tuple[str, ...]

    def read_config(self, path: Path) -> SAEConfig:
        """What the SAE was trained for."""
        ...

    def read_weights(self, path: Path) -> SAEWeights:
        """The four arrays."""
        ...


FORMATS: tuple[SAEFormat, ...] = (prisma,)
