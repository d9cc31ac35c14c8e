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
    config = manifest.get("config") or {}
    for given, plugin in (manifest.get("plugins") or {}).items():
        place = re.sub(r"\[(\d+)\]", r".\1", given)  # as earlier versions write it
        settings = _settings(config, place)
        if not _made_none(manifest, place):
            works = _written(plugin["cites"]) if "cites" in plugin else _installed(manager, place, settings)
            start = f"{settings['name']}_" if settings.get("name") else ""
            known = {**dict.fromkeys(chain.from_iterable(columns.values()), True), **figures}
            own = {name.removeprefix(start): value for name, value in known.items() if name.startswith(start)}
            found[place] = [replace(one, when="") for one in works if one.applies({**own, **settings})]
    return {place: works for place, works in found.items() if works}


def _settings(config: Mapping[str, Any], place: str) -> Mapping[str, Any]:
    table, _, number = place.partition(".")
    found = config.get(table)
    if number.isdecimal() and isinstance(found, list | tuple):
        found = found[int(number)] if int(number) < len(found) else None
    return found if isinstance(found, Mapping) else {}


def _installed(manager: Callable[[], Manager], place: str, settings: Mapping[str, Any]) -> Iterable[Citation]:
    table = place.partition(".")[0]
    role = LISTS[table][0] if table in LISTS else _ROLES.get(table, table)
    try:
        return manager().offer(role, str(settings.get("use"))).spec.cites
    except SaevizError:  # it is not installed, or the run does not say what it was
        return ()


def _made_none(manifest: Mapping[str, Any], place: str) -> bool:
    """Whether it is an embedder that made no embedding, because no scorer of the run uses any."""
    record = (manifest.get("stages") or {}).get(_EMBEDDED_BY.get(place)) or {}
    return (record.get("counts") or {}).get("embedded") == 0


def _written(works: Any) -> Iterator[Citation]:
    for one in works or ():
        with suppress(TypeError, DataError):  # another version wrote something else
            yield Citation(**one)
