"""What components hand over, looked at before anything is made of it: a plugin's mistake is told with its name.

`who` says whose it is, such as "extractor: mine of plugin mine (file mine.py)".
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from numbers import Integral
from typing import TYPE_CHECKING, Any

from saeviz.formats.plain import quoted
from saeviz.values.errors import PluginError
from saeviz.values.features import Feature, FeatureBatch, FeatureSpace
from saeviz.values.images import ImageItem
from saeviz.values.naming import FeatureLabel
from saeviz.values.scores import ScoreColumn, ScoreFact, Selected

if TYPE_CHECKING:
    from saeviz.typing import Float32Array


def images(who: str, items: Iterable[object]) -> Iterator[ImageItem]:
    """The images of a provider: values of the right type, with text about them."""
    for item in items:
        if not isinstance(item, ImageItem):
            raise PluginError(f"{who} gave {_kind(item)} where an ImageItem belongs")
        for name, value in item.metadata.items():
            if not isinstance(name, str) or not isinstance(value, str):
                raise PluginError(
                    f"{who} gave the item {quoted(item.item_id)} the metadata {quoted(name)} = {quoted(value)}; "
                    "both must be text"
                )
        if not all(isinstance(name, str) for name in (*item.ratings, *item.individual)):
            raise PluginError(f"{who} gave the item {quoted(item.item_id)} a rating whose name is not text")
        yield item


def spaces(who: str, found: Any) -> list[FeatureSpace]:
    """The spaces that an extractor fills, sorted: one at least, and one for each layer and tokens."""
    listed = list(found)
    if wrong := [space for space in listed if not isinstance(space, FeatureSpace)]:
        raise PluginError(f"{who} has {_kind(wrong[0])} among its spaces where a FeatureSpace belongs")
    if not listed:
        raise PluginError(f"{who} has no feature space")
    names = [str(space) for space in listed]
    if twice := [name for name in names if names.count(name) > 1]:
        raise PluginError(f"{who} has the space {twice[0]} more than once")
    return sorted(listed)


def extracted(
    who: str, batches: Iterable[object], spaces: Iterable[FeatureSpace], asked: Iterable[str]
) -> Iterator[FeatureBatch]:
    """The batches of an extractor: of its spaces, of items that it was asked for, of each once."""
    waiting = {space: set(asked) for space in spaces}
    for batch in batches:
        if not isinstance(batch, FeatureBatch):
            raise PluginError(f"{who} gave {_kind(batch)} where a FeatureBatch belongs")
        if batch.space not in waiting:
            raise PluginError(f"{who} gave {batch.space} of {batch.space.n_features} features, which it never declared")
        for item_id in batch.item_ids:
            if item_id not in waiting[batch.space]:
                raise PluginError(
                    f"{who} gave features of item {quoted(item_id)} in {batch.space} "
                    "twice, or without being asked for it"
                )
        waiting[batch.space].difference_update(batch.item_ids)
        yield batch


def refuse_another_batch(who: str, kept: FeatureBatch, read: Sequence[FeatureBatch]) -> None:
    """Raise where a store does not give back what it was just given."""
    start = 0
    for batch in read:
        rows = kept.matrix[start : start + len(batch)]
        start += len(batch)
        if batch.matrix.shape != rows.shape or (batch.matrix != rows).nnz:
            raise PluginError(f"{who} was given features of {kept.space} and gives other values when it is read")


def item_ids(who: str, space: FeatureSpace, found: Any) -> list[str]:
    """The items that a store says it has in a space: ids, each once."""
    listed = list(found)
    if wrong := [item_id for item_id in listed if not isinstance(item_id, str)]:
        raise PluginError(f"{who} lists {_kind(wrong[0])} among the items of {space} where an id belongs")
    if len(set(listed)) < len(listed):
        raise PluginError(f"{who} lists an item of {space} more than once")
    return listed


def dimension(who: str, found: Any) -> int:
    """The length of embeddings."""
    if not isinstance(found, Integral) or found < 1:
        raise PluginError(f"{who} says that its embeddings have the length {quoted(found)}")
    return int(found)


def vectors(who: str, found: Any, n: int, dim: int) -> Float32Array:
    """Embeddings of `n` images; a row that is not finite is an image without."""
    import numpy as np

    array = np.asarray(found)
    if array.dtype.kind not in "fiu":
        raise PluginError(f"{who} gave {_kind(found)} of {array.dtype} where embeddings belong")
    if array.shape != (n, dim):
        raise PluginError(f"{who} gave shape {array.shape} for {n} images of dimension {dim}")
    with np.errstate(over="ignore"):
        return array.astype(np.float32, copy=False)


def result(who: str, found: ScoreColumn | ScoreFact) -> None:
    """Raise unless what a scorer gives has a name, and numbers that can be compared; NaN is a feature without score."""
    import numpy as np

    if not isinstance(found.name, str) or not found.name:
        raise PluginError(f"{who} gave a {type(found).__name__} with the name {quoted(found.name)}, which must be text")
    if isinstance(found, ScoreColumn) and found.values.dtype.kind == "f" and np.isinf(found.values).any():
        raise PluginError(f"{who} gave {found.name!r} of {found.space} with infinite values; NaN is for no score")


def selection(who: str, found: Any, spaces: Iterable[FeatureSpace]) -> list[Selected]:
    """The features that a selector chose: of this run, each once."""
    sizes = {(space.layer, space.tokens): space.n_features for space in spaces}
    chosen = list(found)
    for choice in chosen:
        if not isinstance(choice, Selected) or not isinstance(choice.feature, Feature):
            raise PluginError(f"{who} gave {_kind(choice)} where a Selected with a Feature belongs")
        feature = choice.feature
        if not (
            isinstance(feature.index, Integral) and isinstance(choice.tier, Integral) and isinstance(choice.reason, str)
        ):
            raise PluginError(f"{who} chose {feature}, tier {quoted(choice.tier)}, with values of another type")
        if not 0 <= feature.index < sizes.get((feature.layer, feature.tokens), 0):
            raise PluginError(f"{who} chose {feature}, which this run does not have")
    if len({choice.feature for choice in chosen}) < len(chosen):
        raise PluginError(f"{who} chose a feature more than once")
    return chosen


def refuse_details(who: str, found: FeatureLabel, feature: Feature) -> None:
    """Raise where the details of a label are nothing that JSON can hold."""
    try:
        if isinstance(found.details, Mapping):
            json.dumps(dict(found.details))
            return
    except (TypeError, ValueError, RecursionError) as error:
        raise PluginError(f"{who} named {feature} with details that JSON cannot hold: {error}") from error
    raise PluginError(f"{who} named {feature} with {_kind(found.details)} as details where a mapping belongs")


def _kind(value: object) -> str:
    name = type(value).__name__
    return "None" if value is None else f"{'an' if name[0] in 'AEIOUaeiou' else 'a'} {name}"
