"""The published SAEs that are known by name: those of `known.toml`, then those that other packages list."""

from __future__ import annotations

import difflib
import logging
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from saeviz.contract.saes import KnownSAE
from saeviz.discovery.extensions import extensions, left_out
from saeviz.discovery.metadata import KNOWN_SAES
from saeviz.values.features import Layer

logger = logging.getLogger("saeviz")
TRAPS = ("clip-sae-vit-l-14", "longclip-sae-vit-l-14")
"""Repositories of zer0int called after the SAEs that guided the fine-tuning of these CLIPs."""
REGISTRY = Path(__file__).with_name("known.toml")


def known_saes() -> tuple[KnownSAE, ...]:
    """All of them, in the order of the lists."""
    return (*_own(), *_others())


def find(source: str | Path) -> KnownSAE | None:
    """The known SAE of this short name or hub id, or of the repository that this folder or file is a copy of."""
    name = _last(source)
    return _by_name(_own()).get(name) or _by_name(_others()).get(name)


def is_trap(source: str | Path) -> bool:
    """Whether this is a repository, or a copy of it, whose name says SAE although it holds a CLIP."""
    return _last(source) in TRAPS


def _last(source: str | Path) -> str:
    """The last part of a hub id, or the name of a folder or of a file's folder, in lower case."""
    given = Path(source).expanduser()
    return str(given.parent if given.is_file() else source).replace("\\", "/").rstrip("/").rpartition("/")[2].lower()


def suggestion(name: str) -> str:
    """End of a message: `; did you mean ...?` with similar short names, or how to list them all."""
    near = difflib.get_close_matches(name.lower(), [known.name for known in known_saes()], 3)
    if near:
        return f"; did you mean {', '.join(near)}?"
    return f"; `saeviz plugins extractor:clip-b32-prisma` lists them{left_out(KNOWN_SAES)}"


def default_saes(extractor: str) -> dict[Layer, str]:
    """The hub id that an extractor uses by default for each layer.

    An extractor of saeviz's own has those of saeviz's own list.
    """
    return _defaults(_own(), extractor) or _defaults(_others(), extractor)


def _defaults(known: tuple[KnownSAE, ...], extractor: str) -> dict[Layer, str]:
    return {one.layer: one.id for one in known if one.default and one.extractor == extractor}


def table_of(extractor: str) -> Iterator[str]:
    """The known SAEs of an extractor with their figures, a line each, for `notes` of its spec."""
    mine = [known for known in known_saes() if known.extractor == extractor]
    width = max((len(known.name) for known in mine), default=0)
    yield f"{'known SAE':{width}}  layer  reads       tokens   kind     expl. var.    L0  L0 of cls  repository"
    for known in mine:
        layer = "-" if known.layer is None else known.layer
        variance = f"{known.explained_variance:.1%}" if known.explained_variance is not None else "-"
        yield (
            f"{known.name:{width}}  {layer:>5}  {known.hook:10}  {known.tokens:7}  {known.architecture:7}"
            f"  {variance:>10}  {_count(known.l0):>4}  {_count(known.l0_cls):>9}  {known.id}"
        )


def _count(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}"


@cache
def _own() -> tuple[KnownSAE, ...]:
    with REGISTRY.open("rb") as file:
        return tuple(KnownSAE(**entry, format="prisma") for entry in tomllib.load(file)["sae"])


@cache
def _others() -> tuple[KnownSAE, ...]:
    """Those of other packages, without those whose name or repository is known already."""
    found: list[KnownSAE] = []
    taken = set(_by_name(_own()))
    for extension in extensions(KNOWN_SAES):
        for known in extension.value or ():
            names = set(_by_name((known,)))
            if names & taken:
                logger.warning("%s: its SAE %s is left out, as that name is already known", extension, known.name)
            else:
                taken |= names
                found.append(known)
    return tuple(found)


@cache
def _by_name(listed: tuple[KnownSAE, ...]) -> dict[str, KnownSAE]:
    found = {known.id.partition("/")[2].lower(): known for known in listed}
    return {**found, **{known.name.lower(): known for known in listed}}
