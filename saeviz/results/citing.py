"""What to cite for a run: the works that its components name (`ComponentSpec.cites`), as far as it used them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING, Any

from saeviz.config.schema import EXTRACTORS, LISTS
from saeviz.values.citations import Citation
from saeviz.values.errors import DataError, SaevizError

if TYPE_CHECKING:
    from saeviz.discovery.manager import Manager

_EMBEDDED_BY = {"embeddings": "embed", "second_embeddings": "embed-second"}
_OF_SCORERS = ("scores", "correlations", "images_table", "pairs")
"""The tables that scorers fill: which columns they have is up to the run."""
_ROLES = {"second_embeddings": "embeddings", "judge": "labeler", EXTRACTORS: "extractor"}


def works_of(
    manifest: Mapping[str, Any],
    figures: Mapping[str, Any],
    columns: Mapping[str, Mapping[str, Any]],
    manager: Callable[[], Manager],
) -> dict[str, list[Citation]]:
    """The works to cite by the place of the component that names them, such as `embeddings` or `scorers.0`.

    `figures` are the facts of the run, `columns` those of its tables. If the run was made before components said what
    to cite, they are those of what is installed, which `manager` knows.
    """
    found: dict[str, list[Citation]] = {}
    config = _mapping(manifest.get("config"))
    there = dict.fromkeys(chain.from_iterable(columns.get(table, ()) for table in _OF_SCORERS), True)
    for given, plugin in _mapping(manifest.get("plugins")).items():
        place = re.sub(r"\[(\d+)\]", r".\1", given)  # as earlier versions write it
        settings = _settings(config, place)
        if not _made_none(manifest, place):
            recorded = _mapping(plugin)
            works = _written(recorded["cites"]) if "cites" in recorded else _installed(manager, place, settings)
            start = f"{settings['name']}_" if settings.get("name") else ""
            known = {**there, **figures}
            own = {name.removeprefix(start): value for name, value in known.items() if name.startswith(start)}
            found[place] = [replace(one, when="") for one in works if one.applies({**own, **settings})]
    return {place: works for place, works in found.items() if works}


def _settings(config: Mapping[str, Any], place: str) -> Mapping[str, Any]:
    table, _, number = place.partition(".")
    found = config.get(table)
    if isinstance(found, list | tuple):
        places = map(str, range(len(found)))  # a number from outside may have more digits than Python makes an int of
        found = dict(zip(places, found, strict=True)).get(number)
    return _mapping(found)


def _installed(manager: Callable[[], Manager], place: str, settings: Mapping[str, Any]) -> Iterable[Citation]:
    table = place.partition(".")[0]
    role = LISTS[table][0] if table in LISTS else _ROLES.get(table, table)
    try:
        return manager().offer(role, str(settings.get("use"))).spec.cites
    except SaevizError:  # it is not installed, or the run does not say what it was
        return ()


def _made_none(manifest: Mapping[str, Any], place: str) -> bool:
    """Whether it is an embedder that made no embedding, because no scorer of the run uses any."""
    record = _mapping(_mapping(manifest.get("stages")).get(_EMBEDDED_BY.get(place, "")))
    return _mapping(record.get("counts")).get("embedded") == 0


def _written(works: Any) -> Iterator[Citation]:
    for one in works if isinstance(works, list | tuple) else ():
        with suppress(TypeError, DataError):  # another version wrote something else
            yield Citation(**one)


def _mapping(found: Any) -> Mapping[str, Any]:
    """What a manifest has there, which may be a stranger's: nothing, if it is something else."""
    return found if isinstance(found, Mapping) else {}
