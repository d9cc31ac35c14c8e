"""Where the SAE of a layer is: a folder, a weights file, a hub repository, or a known SAE by its short name."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from saeviz.contract.context import Context
from saeviz.contract.saes import KnownSAE, SAEConfig, SAEFormat, SAEWeights
from saeviz.discovery.extensions import left_out
from saeviz.discovery.metadata import SAE_FORMATS
from saeviz.toolkit.hub import commit_of, fetch, files_of
from saeviz.toolkit.sae.formats import other_formats, sae_formats
from saeviz.toolkit.sae.formats.reading import is_model
from saeviz.toolkit.sae.forward import SAE, Formula
from saeviz.toolkit.sae.known import find, is_trap, suggestion
from saeviz.toolkit.sae.manifest import BY_L0, NAME, choices, nearest, read_manifest
from saeviz.toolkit.torch import first_line, torch_device
from saeviz.values.errors import DataError
from saeviz.values.features import Layer


@dataclass(frozen=True)
class SAESource:
    """One SAE on disk or on the hub. Its config is fetched on first use, its weights when they are read.

    `layer` is the one that it is used for, None for the embedding; `option` is what names it in the run file.
    """

    layer: Layer | None
    source: str | Path
    revision: str | None
    context: Context
    option: str = ""

    @cached_property
    def config(self) -> SAEConfig:
        """What it was trained on. Raises `DataError` if the config cannot be found or read."""
        known, path = self._config_file
        try:
            config = known.read_config(path)
        except DataError as error:
            raise DataError(f"{self.place}: {error}") from error
        return replace(config, layer=self.layer) if self._by_l0 and config.layer is None else config

    def read_weights(self) -> SAEWeights:
        """Its arrays, from the same commit as the config. Raises `DataError` if they cannot be found or read."""
        weights = self.weights
        try:
            return self._config_file[0].read_weights(weights)
        except (
            RuntimeError,
            ValueError,
            TypeError,
            IndexError,
        ) as error:  # what torch raises for shapes that do not fit
            raise DataError(
                f"{self.place}: the arrays of {weights} do not fit together ({first_line(error)}); get the file again"
            ) from error

    def read(self, formula: Formula = "published") -> SAE:
        """The SAE, on the device of the context. Raises `DataError` if weights and config do not fit."""
        weights = self.read_weights()
        try:
            return SAE(self.config, weights, formula=formula, device=torch_device(self.context))
        except DataError as error:
            raise DataError(f"{self.place} ({self.source}): {error}") from error

    @property
    def weights(self) -> Path:
        """The file with its arrays, downloaded if need be. Raises `DataError` if it cannot be found."""
        known, config = self._config_file
        given = Path(self.source).expanduser()
        is_weights = given.is_file() and (given != config or known.WEIGHTS_NAMES == known.CONFIG_NAMES)
        return given if is_weights else self._weights_of(known, config)

    def _weights_of(self, known: SAEFormat, config: Path) -> Path:
        """The weights file beside a config, from the same commit; the last checkpoint if there are several."""
        from saeviz.toolkit.sae.formats import prisma

        commit = commit_of(config)
        try:
            return self._fetch(known.WEIGHTS_NAMES, commit)
        except DataError:
            beside = [path.name for path in config.parent.iterdir() if path.is_file()]
            last = self._last_checkpoint(beside)
            if last is None and commit is not None:
                last = self._last_checkpoint(self._published_beside(commit))
            if known is not prisma or last is None:
                raise
            return self._fetch([last], commit)

    def _last_checkpoint(self, names: Sequence[str]) -> str | None:
        """The last checkpoint of ViT-Prisma's trainer: `n_images_N.pt` with the largest N."""
        from saeviz.toolkit.sae.formats.prisma import CHECKPOINT

        left = {int(match[1]): match[0] for match in map(CHECKPOINT.fullmatch, names) if match}
        if not left:
            return None
        last = left[max(left)]
        if len(left) > 1:
            self.context.logger.warning(
                "%s: %s has %d checkpoints; %s is used", self.place, self.source, len(left), last
            )
        return last

    def _published_beside(self, commit: str) -> list[str]:
        """Names of the files in the SAE's folder of the repository."""
        repository, folder = self._place
        names = files_of(str(repository), context=self.context, revision=commit, option=self.place)
        inside = f"{folder}/" if folder else ""
        return [name.removeprefix(inside) for name in names if name.startswith(inside)]

    @property
    def commit(self) -> str | None:
        """Hub commit that it was loaded from; None for local files."""
        return commit_of(self._config_file[1])

    @cached_property
    def known(self) -> KnownSAE | None:
        """Its registry entry, also for a local copy in a folder named like the repository; None if unknown."""
        return find(self.source)

    @cached_property
    def _config_file(self) -> tuple[SAEFormat, Path]:
        """Its format, and the file with its config."""
        self._refuse(is_trap(self.source), "a fine-tuned CLIP")
        try:
            return self._claimed(self._formats)
        except DataError as error:
            others = [] if self.known and self.known.format else list(other_formats().values())
            with suppress(DataError):
                if others:
                    return self._claimed(others)
            raise DataError(f"{error}{left_out(SAE_FORMATS)}") from error

    def _claimed(self, formats: Sequence[SAEFormat]) -> tuple[SAEFormat, Path]:
        """The first of the formats that claims a file, and that file. Raises `DataError` if there is none."""
        seen = []
        for path in self._candidates(formats):
            for known in formats:
                if known.claims(path):
                    return known, path
            self._refuse(is_model(path), "a model")
            seen.append(path.name)
        raise DataError(
            f"{self.place}: {self.source} is not an SAE of a known format (it has {', '.join(seen)}); "
            f"needed: {self._needed}"
        )

    def _refuse(self, is_other: bool, what: str) -> None:
        if is_other:
            raise DataError(
                f"{self.place}: {self.source} is {what}, not an SAE, whatever its name says; an SAE has an encoder "
                f"and a decoder for the activations of one layer: {self._needed}"
            )

    def _candidates(self, formats: Sequence[SAEFormat]) -> Iterator[Path]:
        """Files that exist and may hold a config; at least one."""
        given = Path(self.source).expanduser()
        names = list(dict.fromkeys(name for known in formats for name in known.CONFIG_NAMES))
        if given.is_file():
            yield given
            yield from (path for path in map(given.with_name, names) if path.is_file())
            return
        try:
            path = self._fetch(names)
        except DataError as error:
            self._say_what_is_listed(error)
            raise
        yield path
        for name in names[names.index(path.name) + 1 :]:
            with suppress(DataError):
                yield self._fetch([name])

    @property
    def _formats(self) -> Sequence[SAEFormat]:
        """Formats that it may be in: those that saeviz reads itself, or the one that a known SAE is in."""
        if self.known is None or not self.known.format:
            return list(sae_formats().values())
        named = sae_formats().get(self.known.format) or other_formats().get(self.known.format)
        if named is None:
            raise DataError(
                f"{self.place}: {self.known.name} is in the format {self.known.format!r}, which no package "
                f"reads{left_out(SAE_FORMATS)}"
            )
        return [named]

    @property
    def _needed(self) -> str:
        files = [[known.CONFIG_NAMES[0], " or ".join(known.WEIGHTS_NAMES)] for known in self._formats]
        return "; or ".join(" with ".join(dict.fromkeys(names)) for names in files)

    def _say_what_is_listed(self, error: DataError) -> None:
        """Raise `DataError` with the SAEs of this layer, if the repository or folder lists them."""
        place, _ = self._place
        try:
            listed = read_manifest(self._fetch_from(place, [NAME]))
        except DataError:
            return
        is_local = Path(place).expanduser().is_dir()
        how = f"{place}/FOLDER" if is_local else f"{place}:FOLDER, or by its L0, {place}:{BY_L0}60"
        raise DataError(
            f"{self.place}: {self.source} is not one SAE; {choices(listed, self.layer)}; choose one, {how}"
        ) from error

    def _fetch(self, names: Sequence[str], commit: str | None = None) -> Path:
        place, folder = self._place
        return self._fetch_from(place, [f"{folder}/{name}" if folder else name for name in names], commit)

    def _fetch_from(self, place: str | Path, names: Sequence[str], commit: str | None = None) -> Path:
        pinned = self.known.revision if self.known and self.known.id == place else None
        return fetch(
            place,
            names,
            context=self.context,
            revision=commit or self.revision or pinned or "main",
            option=self.place,
            needed=self._needed,
        )

    @cached_property
    def _place(self) -> tuple[str | Path, str]:
        """A folder or repository, and the folder inside it (`owner/repository:folder`)."""
        place, inside = self._named
        if not self._by_l0:
            return place, inside
        manifest = self._fetch_from(place, [NAME])
        try:
            chosen = nearest(read_manifest(manifest), self.layer, inside.removeprefix(BY_L0), str(self.source))
        except DataError as error:
            raise DataError(f"{self.place}: {error}") from error
        self.context.logger.info("%s: %s is %s, with an L0 of %g", self.place, self.source, chosen.path, chosen.l0)
        return place, chosen.folder

    @property
    def _by_l0(self) -> bool:
        return self._named[1].startswith(BY_L0)

    @cached_property
    def _named(self) -> tuple[str | Path, str]:
        """What the source says: a folder or repository, and what stands after its colon."""
        text, given = str(self.source), Path(self.source).expanduser()
        if given.is_file():
            return given.parent, ""
        if isinstance(self.source, Path) or given.exists() or text.startswith((".", "~")):
            return self.source, ""
        if self.known and text.lower() == self.known.name:
            return self.known.id, ""
        if not set(text) & set("/\\"):
            raise DataError(f"{self.place}: no file or folder {text}, and no known SAE of that name{suggestion(text)}")
        inside = re.fullmatch(r"([^/:\\]+/[^/:\\]+):(.+)", text)
        if inside is None:
            return text, ""
        if ".." in inside[2].split("/"):
            raise DataError(f"{self.place}: {text} leads out of the repository")
        return inside[1], inside[2].strip("/")

    @property
    def place(self) -> str:
        """The option that names it, for messages."""
        return self.option or f"extractor.saes.{self.layer}"


def read_sae(
    source: str | Path, *, context: Context | None = None, revision: str | None = None, formula: Formula = "published"
) -> SAE:
    """The SAE of a source as run files name it: a short name, a hub id, a folder, or a weights file beside its config.

    It is on the device of the context, by default the best there is. Raises `DataError` if it cannot be found or read.
    """
    return SAESource(None, source, revision, context or Context(), str(source)).read(formula)
