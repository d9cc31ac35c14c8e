"""Where the SAE of a layer lies: a folder, a weights file or a repository of the hub."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from saeviz import Context
from saeviz.toolkit.hub import commit_of, fetch
from saeviz_vit.formats import FORMATS, SAEFormat
from saeviz_vit.sae import SAEConfig, SAEWeights

NEEDED = " or ".join(f"{known.CONFIG_NAMES[0]} and {' or '.join(known.WEIGHTS_NAMES)}" for known in FORMATS)


@dataclass(frozen=True)
class SAESource:
    """One SAE on disk or on the hub. Its config is fetched when asked for, its weights when read."""

    layer: int
    source: str | Path
    revision: str
    context: Context

    @cached_property
    def config(self) -> SAEConfig:
        """What it was made for. Raises `DataError` where it cannot be had or read."""
        return self._format.read_config(self._config_path)

    def read_weights(self) -> SAEWeights:
        """Its arrays, of the same commit as the config. Raises `DataError` where they cannot be had or read."""
        path = self._fetch(self.source, self._format.WEIGHTS_NAMES, self.commit or self.revision)
        return self._format.read_weights(path)

    @property
    def commit(self) -> str | None:
        """The commit of the hub that it came from, None for local files."""
        return commit_of(self._config_path)

    @cached_property
    def _config_path(self) -> Path:
        file = Path(self.source).expanduser()
        folder = file.parent if file.is_file() else self.source
        return self._fetch(folder, [name for known in FORMATS for name in known.CONFIG_NAMES], self.revision)

    @property
    def _format(self) -> SAEFormat:
        return next(known for known in FORMATS if self._config_path.name in known.CONFIG_NAMES)

    def _fetch(self, source: str | Path, names: Sequence[str], revision: str) -> Path:
        return fetch(
            source,
            names,
            context=self.context,
            revision=revision,
            option=f"extractor.saes.{self.layer}",
            needed=NEEDED,
        )
