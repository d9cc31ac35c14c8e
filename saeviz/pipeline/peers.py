"""Components as others ask for them, with checked results: what one does wrong is not the fault of whoever asked."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import wraps
from pathlib import Path
from typing import Any

from saeviz.contract import handover, roles
from saeviz.contract.roles import missing_members
from saeviz.pipeline.blame import blaming, blaming_for_pictures, guarded
from saeviz.values.checks import kind_of
from saeviz.values.errors import PluginError
from saeviz.values.features import FeatureBatch, SAEFeatureResult

OF_ONE_PICTURE = {"extract_from_image", "extract_spatial", "heatmaps", "field_of_view"}
"""Methods that may raise `ImageError`: whoever asks has to do without the picture."""

Check = Callable[[str, Any, Mapping[str, Any]], Any]
"""Of who gave it, what it is, and the arguments by name: the same, or what checks it as it is read."""


def _rows(method: str, argument: str, *lengths: str) -> Check:
    """Checks an array with a row for each of an argument."""
    return lambda who, found, given: handover.numbers(who, method, found, (len(given[argument]), *lengths))


def _heatmaps(who: str, found: Any, given: Mapping[str, Any]) -> Any:
    return handover.numbers(who, "heatmaps", found, (len(given["images"]), len(given["features"]), "rows", "cols"))


def _activations_of(who: str, found: Any, given: Mapping[str, Any]) -> Any:
    n = len(given["spaces"])
    if not isinstance(found, Sequence) or len(found) != n:
        raise PluginError(f"{who} returned {kind_of(found)} from activations_of, not a list of {n} arrays")
    return [handover.numbers(who, "activations_of", one, (len(given["items"]), "d_in")) for one in found]


CHECKS: dict[str, Check] = {
    "get_image": lambda who, found, given: handover.image(who, found, given["item_id"]),
    "iter_images": lambda who, found, _: handover.images(who, found),
    "iter_shard": lambda who, found, _: handover.images(who, found, "iter_shard"),
    "shards": lambda who, found, _: handover.listed(who, "shards", found, str),
    "spaces": lambda who, found, _: handover.spaces(who, found) and found,
    "extract": lambda who, found, _: handover.each(who, "extract", found, FeatureBatch),
    "extract_from_image": lambda who, found, _: handover.one(who, "extract_from_image", found, SAEFeatureResult),
    "extract_spatial": lambda who, found, _: handover.spatial(who, found),
    "heatmaps": _heatmaps,
    "field_of_view": lambda who, found, _: handover.box(who, found),
    "activations": _rows("activations", "items", "d_in"),
    "activations_of": _activations_of,
    "decoder": lambda who, found, given: handover.numbers(who, "decoder", found, (given["space"].n_features, "d_in")),
    "embed_images": _rows("embed_images", "items", "dim"),
    "embed_texts": _rows("embed_texts", "texts", "dim"),
    "embed": _rows("embed", "items", "dim"),
    "model_files": lambda who, found, _: handover.listed(who, "model_files", found, Path),
}
"""What a method has to give, by its name: of those that others have a use for."""
PROTOCOLS = [kind for kind in vars(roles).values() if getattr(kind, "_is_protocol", False)]


def peer(component: object, who: str, log: Path | None) -> Any:
    """The component, to be asked by others; `who` names it and its plugin in messages.

    It has all attributes of the component, and those that a role or a capability asks for are checked.
    """
    able = [protocol for protocol in PROTOCOLS if not missing_members(component, protocol)]
    members = {name: member for one in able for name, member in vars(one).items() if not name.startswith("_")}
    known = {name: _checked(name, member) for name, member in members.items()}
    kind = type(component)
    own = {**known, "__module__": kind.__module__, "__qualname__": kind.__qualname__}
    made: type[_Peer] = type(kind.__name__, (_Peer,), own)
    return made(component, who, log)


class _Peer:
    def __init__(self, component: object, who: str, log: Path | None) -> None:
        self._component, self._who, self._log = component, who, log

    def __getattr__(self, name: str) -> Any:
        return getattr(object.__getattribute__(self, "_component"), name)


def _checked(name: str, member: Any) -> Any:
    """A property or method that asks the component and checks what it gives."""
    check: Check = CHECKS.get(name, lambda _who, found, _given: found)
    blame = blaming if name in OF_ONE_PICTURE else blaming_for_pictures
    is_method = inspect.isfunction(member)
    names = list(inspect.signature(member).parameters)[1:] if is_method else []

    def ask(self: _Peer, *arguments: Any, **options: Any) -> Any:
        with blame(self._who, self._log):
            found = getattr(self._component, name)
            if is_method:
                found = found(*arguments, **options)
            checked = check(self._who, found, dict(zip(names, arguments, strict=False)) | options)
        return guarded(self._who, self._log, checked) if isinstance(checked, Iterator) else checked

    return wraps(member)(ask) if is_method else property(ask)
