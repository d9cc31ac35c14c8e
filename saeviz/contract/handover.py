"""Check the results of components before they are used, so that a plugin's mistake is reported with its name.

`who` names the component, for example "extractor: mine of plugin mine (file mine.py)".
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from numbers import Integral
from typing import TYPE_CHECKING, Any

from saeviz.contract.roles import HasNumbersOfImages
from saeviz.formats.plain import quoted
from saeviz.values.errors import PluginError
from saeviz.values.features import Feature, FeatureBatch, FeatureSpace, names_numbers_of_images
from saeviz.values.images import ImageItem
from saeviz.values.naming import FeatureLabel
from saeviz.values.scores import ImageColumn, PairBlock, ScoreColumn, ScoreResult, Selected
from saeviz.values.shards import Shard, Step
from saeviz.values.texts import Marks, Places, Texts

if TYPE_CHECKING:
    from saeviz.typing import Float32Array


def images(who: str, items: Iterable[object]) -> Iterator[ImageItem]:
    """The images of a provider, checked: `ImageItem`s with text as metadata and as group."""
    for item in items:
        if not isinstance(item, ImageItem):
            raise PluginError(f"{who} gave {_kind(item)} instead of an ImageItem")
        for name, value in item.metadata.items():
            if not isinstance(name, str) or not isinstance(value, str):
                raise PluginError(
                    f"{who} gave the item {quoted(item.item_id)} the metadata {quoted(name)} = {quoted(value)}; "
                    "both must be text"
                )
        if not all(isinstance(name, str) for name in (*item.ratings, *item.individual)):
            raise PluginError(f"{who} gave the item {quoted(item.item_id)} a rating whose name is not text")
        if item.group is not None and not (isinstance(item.group, str) and item.group):
            raise PluginError(
                f"{who} gave the item {quoted(item.item_id)} the group {quoted(item.group)}, which must be text, or "
                "None where it has none"
            )
        yield item


def spaces(who: str, found: Any) -> list[FeatureSpace]:
    """The spaces of an extractor, sorted: at least one, and no name more than once."""
    listed = list(found)
    if wrong := [space for space in listed if not isinstance(space, FeatureSpace)]:
        raise PluginError(f"{who} has {_kind(wrong[0])} among its spaces instead of a FeatureSpace")
    if not listed:
        raise PluginError(f"{who} has no feature space")
    names = [str(space) for space in listed]
    if twice := [name for name in names if names.count(name) > 1]:
        raise PluginError(f"{who} has the space {twice[0]} more than once")
    return sorted(listed)


def numbers_of_images(who: str, extractor: object, space: FeatureSpace) -> list[str]:
    """The names of the numbers that an extractor gives of images with the features of a space, checked."""
    found = list(extractor.numbers_of_images(space)) if isinstance(extractor, HasNumbersOfImages) else []
    if wrong := [name for name in found if not names_numbers_of_images(name)]:
        raise PluginError(f"{who} declares numbers of images in {space} with the name {quoted(wrong[0])}")
    return found


def extracted(
    who: str,
    batches: Iterable[object],
    spaces: Mapping[FeatureSpace, Collection[str]],
    asked: Iterable[str],
) -> Iterator[FeatureBatch]:
    """The batches of an extractor, checked: only of its spaces, only requested items, each once.

    `spaces` has the numbers of images that it declares for each.
    """
    places = Places(Texts.of(asked))
    waiting = {space: Marks(places, places.texts) for space in spaces}
    for batch in batches:
        if not isinstance(batch, FeatureBatch):
            raise PluginError(f"{who} gave {_kind(batch)} instead of a FeatureBatch")
        if batch.space not in waiting:
            raise PluginError(
                f"{who} gave {batch.space} with {batch.space.n_features} features, a space that it does not declare"
            )
        if set(batch.of_images) != set(spaces[batch.space]):
            raise PluginError(
                f"{who} gave the numbers of images {sorted(batch.of_images)} with {batch.space}, and declares "
                f"{sorted(spaces[batch.space])} (saeviz.HasNumbersOfImages)"
            )
        for item_id in batch.item_ids:
            if item_id not in waiting[batch.space]:
                raise PluginError(
                    f"{who} gave features of item {quoted(item_id)} in {batch.space} "
                    "twice, or although it was not requested"
                )
        waiting[batch.space].mask[places.of(batch.item_ids)] = False
        yield batch


def steps(who: str, found: Iterable[object]) -> Iterator[Step]:
    """The progress of an executor, checked."""
    for step in found:
        if not isinstance(step, Step) or not isinstance(step.shard, Shard) or not isinstance(step.n_items, int):
            raise PluginError(f"{who} gave {_kind(step)} instead of a Step of a Shard with a number of images")
        yield step


def refuse_another_batch(who: str, kept: FeatureBatch, read: Sequence[FeatureBatch]) -> None:
    """Raise if a store does not return what was just written to it."""
    start = 0
    for batch in read:
        rows = kept.matrix[start : start + len(batch)]
        start += len(batch)
        if batch.matrix.shape != rows.shape or (batch.matrix != rows).nnz:
            raise PluginError(f"{who} returns other values of {kept.space} than were written")


def item_ids(who: str, space: FeatureSpace, found: Any) -> Texts:
    """The item ids that a store lists for a space, checked: text, each once."""
    if not isinstance(found, Texts):
        found = list(found)
        if wrong := [item_id for item_id in found if not isinstance(item_id, str)]:
            raise PluginError(f"{who} lists {_kind(wrong[0])} among the items of {space} instead of an id")
    listed = Texts.of(found)
    if Places(listed).first_repeated() is not None:
        raise PluginError(f"{who} lists an item of {space} more than once")
    return listed


def dimension(who: str, found: Any) -> int:
    """The length of one embedding, checked."""
    if not isinstance(found, Integral) or found < 1:
        raise PluginError(f"{who} declares embeddings of length {quoted(found)}, which must be a positive integer")
    return int(found)


def vectors(who: str, found: Any, n: int, dim: int) -> Float32Array:
    """Embeddings of `n` images as float32, checked; a row that is not finite means an image without an embedding."""
    import numpy as np

    array = np.asarray(found)
    if array.dtype.kind not in "fiu":
        raise PluginError(f"{who} gave {_kind(found)} of {array.dtype} instead of embeddings")
    if array.shape != (n, dim):
        raise PluginError(f"{who} gave shape {array.shape} for {n} images of dimension {dim}")
    with np.errstate(over="ignore"):
        return array.astype(np.float32, copy=False)


def result(who: str, found: ScoreResult, n_items: int) -> None:
    """Raise unless a scorer's result has a name and no infinite values; NaN means no score."""
    import numpy as np

    if not isinstance(found.name, str) or not found.name:
        raise PluginError(f"{who} gave a {type(found).__name__} with the name {quoted(found.name)}, which must be text")
    if not _can_be_written([found.name]):
        raise PluginError(
            f"{who} gave a {type(found).__name__} whose name {quoted(found.name)} cannot be written as UTF-8"
        )
    if isinstance(found, ScoreColumn) and found.values.dtype.kind == "U" and not _can_be_written(found.values.tolist()):
        raise PluginError(f"{who} gave {found.name!r} of {found.space} with text that cannot be written as UTF-8")
    if isinstance(found, ScoreColumn) and found.values.dtype.kind == "f" and np.isinf(found.values).any():
        raise PluginError(
            f"{who} gave {found.name!r} of {found.space} with infinite values; use NaN for a missing score"
        )
    if isinstance(found, PairBlock) and any(np.isinf(values).any() for values in found.values.values()):
        raise PluginError(f"{who} gave pairs of {found.space} with infinite values; use NaN for a missing one")
    if isinstance(found, ImageColumn):
        if len(found.values) != n_items:
            raise PluginError(f"{who} gave {found.name!r} of {len(found.values)} images, but there are {n_items}")
        if np.isinf(found.values).any():
            raise PluginError(f"{who} gave {found.name!r} of images with infinite values; use NaN for a missing one")


def _can_be_written(texts: Iterable[str]) -> bool:
    try:
        "".join(texts).encode()
    except UnicodeEncodeError:
        return False
    return True


def selection(who: str, found: Any, spaces: Iterable[FeatureSpace]) -> list[Selected]:
    """The features that a selector chose, checked: features of this run, each once."""
    sizes = {str(space): space.n_features for space in spaces}
    chosen = list(found)
    for choice in chosen:
        if not isinstance(choice, Selected) or not isinstance(choice.feature, Feature):
            raise PluginError(f"{who} gave {_kind(choice)} instead of a Selected with a Feature")
        feature = choice.feature
        if not (
            isinstance(feature.index, Integral) and isinstance(choice.tier, Integral) and isinstance(choice.reason, str)
        ):
            raise PluginError(f"{who} chose {feature}, tier {quoted(choice.tier)}, with values of the wrong type")
        if isinstance(choice.tier, bool) or choice.tier < 1:
            raise PluginError(f"{who} chose {feature} with the tier {quoted(choice.tier)}; the best is 1")
        if not (choice.rating is None or isinstance(choice.rating, str)):
            raise PluginError(
                f"{who} chose {feature} for the rating {quoted(choice.rating)}, which must be text or None"
            )
        if not 0 <= feature.index < sizes.get(feature.space_name, 0):
            raise PluginError(f"{who} chose {feature}, which this run does not have")
    if len({choice.feature for choice in chosen}) < len(chosen):
        raise PluginError(f"{who} chose a feature more than once")
    return chosen


def refuse_details(who: str, found: FeatureLabel, feature: Feature) -> None:
    """Raise if the details of a label cannot be written as JSON."""
    try:
        if isinstance(found.details, Mapping):
            json.dumps(dict(found.details))
            return
    except (TypeError, ValueError, RecursionError) as error:
        raise PluginError(f"{who} named {feature} with details that cannot be written as JSON: {error}") from error
    raise PluginError(f"{who} named {feature} with {_kind(found.details)} as details instead of a mapping")


def _kind(value: object) -> str:
    name = type(value).__name__
    return "None" if value is None else f"{'an' if name[0] in 'AEIOUaeiou' else 'a'} {name}"
