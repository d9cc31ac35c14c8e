"""Components as others ask for them, with checked results: what one does wrong is not the fault of whoever asked."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence, Sized
from functools import wraps
from pathlib import Path
from types import ModuleType
from typing import Any

from saeviz.contract import handover, roles, stores
from saeviz.contract.roles import missing_members
from saeviz.pipeline.blame import blaming, blaming_for_pictures, guarded
from saeviz.pipeline.checked_store import CheckedStore
from saeviz.values.checks import kind_of
from saeviz.values.errors import PluginError
from saeviz.values.features import FeatureBatch, SAEFeatureResult

OF_ONE_PICTURE = {"extract_from_image", "extract_spatial", "heatmaps", "field_of_view"}
"""Methods that may raise `ImageError`: whoever asks has to do without the picture."""

Check = Callable[[str, Any, Mapping[str, Any]], Any]
"""Of who gave it, what it is, and the arguments by name: the same, or what checks it as it is read."""


def _length(given: Mapping[str, Any], argument: str) -> int | str:
    """That of an argument; any, where it has none, or was given by a name that only this component has for it."""
    value = given.get(argument)
    return len(value) if isinstance(value, Sized) else argument


def _rows(method: str, argument: str, *lengths: str) -> Check:
    """Checks an array with a row for each of an argument."""
    return lambda who, found, given: handover.numbers(who, method, found, (_length(given, argument), *lengths))


def _image(who: str, found: Any, given: Mapping[str, Any]) -> Any:
    return handover.image(who, found, given["item_id"]) if "item_id" in given else found


def _heatmaps(who: str, found: Any, given: Mapping[str, Any]) -> Any:
    shape = _length(given, "images"), _length(given, "features"), "rows", "cols"
    return handover.numbers(who, "heatmaps", found, shape)


def _activations_of(who: str, found: Any, given: Mapping[str, Any]) -> Any:
    n, shape = _length(given, "spaces"), (_length(given, "items"), "d_in")
    if not isinstance(found, Sequence) or n not in (len(found), "spaces"):
        raise PluginError(f"{who} returned {kind_of(found)} from activations_of, not a list of {n} arrays")
    return [handover.numbers(who, "activations_of", one, shape) for one in found]


def _decoder(who: str, found: Any, given: Mapping[str, Any]) -> Any:
    n = given["space"].n_features if "space" in given else "n_features"
    return handover.numbers(who, "decoder", found, (n, "d_in"))


CHECKS: dict[str, Check] = {
    "get_image": _image,
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
    "decoder": _decoder,
    "embed_images": _rows("embed_images", "items", "dim"),
    "embed_texts": _rows("embed_texts", "texts", "dim"),
    "embed": _rows("embed", "items", "dim"),
    "model_files": lambda who, found, _: handover.listed(who, "model_files", found, Path),
}
"""What a method has to give, by its name: of those that others have a use for."""
SPECIAL = (
    "__call__",
    "__contains__",
    "__eq__",
    "__getitem__",
    "__hash__",
    "__iter__",
    "__len__",
    "__repr__",
    "__str__",
)
"""What Python asks the class of an object for, and not the object."""


def peer(component: object, who: str, log: Path | None) -> Any:
    """The component, to be asked by others; `who` names it and its plugin in messages.

    It counts as one of the component's class, with all attributes of the component; those that a role or a capability
    asks for are checked.
    """
    found = _members(component, roles)
    return _made(component, {name: _checked(component, who, log, name, member) for name, member in found.items()})


def peer_of_store(store: CheckedStore) -> Any:
    """As `peer`, of a store that is checked already."""
    known: dict[str, Any] = {name: _of(store, name) for name in (*_members(store.store, stores), "durable")}
    if "writer" in known:
        known["writer"] = lambda _, name: peer_of_store(store.writer(name))
    return _made(store.store, known)


def _members(component: object, room: ModuleType) -> dict[str, Any]:
    """The methods and properties of all protocols of a module that the component has."""
    protocols = [kind for kind in vars(room).values() if getattr(kind, "_is_protocol", False)]
    able = [protocol for protocol in protocols if not missing_members(component, protocol)]
    return {name: member for one in able for name, member in vars(one).items() if not name.startswith("_")}


class _Peer:
    __slots__ = ("__component", "__weakref__")
    __component: Any

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__component, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.__component, name, value)

    def __delattr__(self, name: str) -> None:
        delattr(self.__component, name)

    def __dir__(self) -> list[str]:
        return dir(self.__component)

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self.__component.__reduce_ex__(protocol)  # a copy is one of the component


def _made(component: object, known: Mapping[str, Any]) -> Any:
    """A peer of a class of its own, which has what is known, and all else of the component."""
    kind = type(component)
    special = [name for name in SPECIAL if getattr(kind, name, None) not in (None, getattr(object, name, None))]
    own = {
        **{name: _special(component, name) for name in special},
        **known,
        "__slots__": (),
        "__class__": property(lambda _: kind),
        **{name: getattr(kind, name) for name in ("__module__", "__qualname__", "__doc__")},
    }
    made: type[_Peer] = type(kind.__name__, (_Peer,), own)
    new = object.__new__(made)
    object.__setattr__(new, "_Peer__component", component)
    return new


def _special(component: object, name: str) -> Callable[..., Any]:
    return lambda _, *arguments: getattr(type(component), name)(component, *arguments)


def _of(store: CheckedStore, name: str) -> property:
    return property(lambda _: getattr(store, name))


def _checked(component: object, who: str, log: Path | None, name: str, member: Any) -> Any:
    """A property or method that asks the component and checks what it gives."""
    check: Check = CHECKS.get(name, lambda _who, found, _given: found)
    blame = blaming if name in OF_ONE_PICTURE else blaming_for_pictures
    is_method = inspect.isfunction(member)
    names = list(inspect.signature(member).parameters)[1:] if is_method else []

    def ask(_: object, *arguments: Any, **options: Any) -> Any:
        with blame(who, log):
            found = getattr(component, name)
        if is_method:
            _refuse_wrong_arguments(who, member, found, arguments, options)
            with blame(who, log):
                found = found(*arguments, **options)
        checked = check(who, found, dict(zip(names, arguments, strict=False)) | options)
        return guarded(who, log, checked) if isinstance(checked, Iterator) else checked

    return wraps(member)(ask) if is_method else property(ask)


def _refuse_wrong_arguments(
    who: str, member: Any, method: Any, arguments: Sequence[Any], options: Mapping[str, Any]
) -> None:
    """Raise `TypeError` if there are too many, too few or others: that is the fault of whoever asks.

    Those that fit the `member` of the protocol are none's but the component's: `PluginError`.
    """
    try:
        signature = inspect.signature(method, follow_wrapped=False)
    except (TypeError, ValueError):  # one that is not written in Python does not tell
        return
    try:
        signature.bind(*arguments, **options)
    except TypeError as error:
        name, asked = member.__name__, inspect.signature(member)
        try:
            asked.bind(None, *arguments, **options)
        except TypeError:
            raise TypeError(f"{name}() of {who}: {error}") from None
        takes = ", ".join(list(asked.parameters)[1:])
        raise PluginError(f"{who} does not take the arguments of {name}({takes}): {error}") from None
