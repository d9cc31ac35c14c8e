"""The file formats of SAEs: a module each, a line in `sae_formats`; each is a `saeviz.toolkit.sae.SAEFormat`."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from saeviz.contract.saes import SAEConfig, SAEFormat, SAEWeights
from saeviz.discovery.extensions import Extension, extensions
from saeviz.discovery.foreign import foreign_code
from saeviz.discovery.metadata import SAE_FORMATS
from saeviz.values.errors import PluginError

T = TypeVar("T")


@cache
def sae_formats() -> dict[str, SAEFormat]:
    """The formats that saeviz reads by itself, by name, in the order in which they are tried."""
    from saeviz.toolkit.sae.formats import (
        clip_topk,
        dictionary_learning,
        overcomplete,
        prisma,
        saelens,
        saev,
        visaebench,
    )

    return {
        "visaebench": visaebench,
        "prisma": prisma,
        "dictionary_learning": dictionary_learning,
        "saelens": saelens,
        "saev": saev,
        "overcomplete": overcomplete,
        "clip-topk-sae": clip_topk,
    }


def other_formats() -> dict[str, SAEFormat]:
    """Those of other packages, by name, which are tried where none of saeviz's own fits."""
    return {one.name: _Foreign(one) for one in extensions(SAE_FORMATS) if not one.reason}


class _Foreign:
    """A format of another package: what its code does wrong is said with its name."""

    def __init__(self, extension: Extension) -> None:
        self._extension = extension
        self._format: Any = extension.value
        self.CONFIG_NAMES = tuple(self._format.CONFIG_NAMES)
        self.WEIGHTS_NAMES = tuple(self._format.WEIGHTS_NAMES)

    def claims(self, path: Path) -> bool:
        """Whether the file is a config of this format."""
        with foreign_code(f"{self._extension} fails at {path}"):
            return bool(self._format.claims(path))

    def read_config(self, path: Path) -> SAEConfig:
        """What the SAE was trained on."""
        return self._read("read_config", path, SAEConfig)

    def read_weights(self, path: Path) -> SAEWeights:
        """The arrays."""
        return self._read("read_weights", path, SAEWeights)

    def _read(self, method: str, path: Path, kind: type[T]) -> T:
        with foreign_code(f"{self._extension} fails at {path}"):
            found = getattr(self._format, method)(path)
        if not isinstance(found, kind):
            raise PluginError(f"{self._extension}: {method} gives {type(found).__name__} instead of {kind.__name__}")
        return found
