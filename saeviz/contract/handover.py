"""Check the results of components before they are used, so that a plugin's mistake is reported with its name.

`who` names the component, for example "extractor: mine of plugin mine (file mine.py)". What a value says of itself is
checked where it is made, in `saeviz.values`; here it is what type comes back, and whether it belongs to the run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from math import prod
from numbers import Integral, Real
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Any

from saeviz.contract.roles import HasNumbersOfImages, missing_members
from saeviz.formats.plain import plain, quoted
from saeviz.values.checks import kind_of, unwritable
from saeviz.values.errors import LabelError, PluginError
from saeviz.values.features import Feature, FeatureBatch, FeatureSpace, SpatialFeatures, names_numbers_of_images
from saeviz.values.images import Box, ImageItem
from saeviz.values.label_words import checked
from saeviz.values.naming import FeatureLabel, Usage
from saeviz.values.scores import ImageColumn, ScoreResult, Selected, TierCutoff
from saeviz.values.shards import Shard, Step
from saeviz.values.texts import Marks, Texts, are_all_different

if TYPE_CHECKING:
    from saeviz.typing import Float32Array, FloatArray

MOST_EMPTY = 10_000
"""Batches of an extractor that have no images, one after another."""


def each(who: str, method: str, found: object, kind: type | UnionType) -> Iterator[Any]:
    """What a method yields, or a list that it returns: each checked to be of a kind."""
    if not isinstance(found, Iterable) or isinstance(found, str | bytes | Mapping):
        raise PluginError(f"{who} returned {kind_of(found)} from {method}, which must give {_words(kind)}")
    for one in found:
        if not isinstance(one, kind):
            raise PluginError(f"{who} gave {kind_of(one)} from {method}, which must give {_words(kind)}")
        yield one


def listed(who: str, method: str, found: object, kind: type) -> list[Any]:
    """The list that a method returns, checked to be one, of a kind: a generator could be read only once."""
    if not isinstance(found, Sequence) or isinstance(found, str | bytes):
        raise PluginError(f"{who} returned {kind_of(found)} from {method}, not a list of {_words(kind)}")
    return list(each(who, method, found, kind))


def count(who: str, name: str, found: object, least: int = 1) -> int:
    """A whole number that a component says of itself, checked."""
    if not isinstance(found, Integral) or isinstance(found, bool) or found < least:
        raise PluginError(f"{who} has {quoted(found)} as {name}, which must be a whole number, {least} or more")
    return int(found)


def truth(who: str, name: str, found: object) -> bool:
    """Whether something is so that a component says of itself, checked."""
    if not isinstance(found, bool):
        raise PluginError(f"{who} has {quoted(found)} as {name}, which must be True or False")
    return found


def images(who: str, found: object, method: str = "iter_images") -> Iterator[ImageItem]:
    """The images of a provider, checked."""
    return each(who, method, found, ImageItem)


def image(who: str, found: object, item_id: str) -> ImageItem | None:
    """The image that a provider gives for an id, checked to be of this id; None if there is none."""
    if found is None:
        return None
    if not isinstance(found, ImageItem):
        raise PluginError(f"{who} returned {kind_of(found)} from get_image, not an ImageItem or None")
    if found.item_id != item_id:
        raise PluginError(f"{who} returned the image {quoted(found.item_id)} from get_image({quoted(item_id)})")
    return found


def spaces(who: str, found: object) -> list[FeatureSpace]:
    """The spaces of an extractor, sorted: at least one, and no name more than once."""
    known = listed(who, "spaces", found, FeatureSpace)
    if not known:
        raise PluginError(f"{who} has no feature space")
    names = [str(space) for space in known]
    if twice := [name for name in names if names.count(name) > 1]:
        raise PluginError(f"{who} has the space {twice[0]} more than once")
    return sorted(known)


def numbers_of_images(who: str, extractor: object, space: FeatureSpace) -> list[str]:
    """The names of the numbers that an extractor gives of images with the features of a space, checked."""
    if not isinstance(extractor, HasNumbersOfImages):
        return []
    found = listed(who, "numbers_of_images", extractor.numbers_of_images(space), str)
    if wrong := [name for name in found if not names_numbers_of_images(name)]:
        raise PluginError(f"{who} declares numbers of images in {space} with the name {quoted(wrong[0])}")
    return found


def extracted(
    who: str,
    found: object,
    spaces: Mapping[FeatureSpace, Collection[str]],
    asked: Marks,
) -> Iterator[FeatureBatch]:
    """The batches of an extractor, checked: only of its spaces, only requested items, each once; none is negative.

    `spaces` has the numbers of images that it declares for each.
    """
    waiting = {space: asked.copy() for space in spaces}
    n_empty = 0
    for batch in each(who, "extract", found, FeatureBatch):
        n_empty = 0 if batch.item_ids else n_empty + 1
        if n_empty > MOST_EMPTY:
            raise PluginError(f"{who} gave {MOST_EMPTY:,} batches without images one after another, as if without end")
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
        if batch.matrix.nnz and (lowest := float(batch.matrix.data.min())) < 0:
            raise PluginError(
                f"{who} gave the feature value {lowest:g} in {batch.space}; a feature that does not fire is 0, and "
                "none is negative"
            )
        waiting[batch.space].mask[asked.places.of(batch.item_ids)] = False
        yield batch


def steps(who: str, found: object) -> Iterator[Step]:
    """The progress of an executor, checked."""
    for step in each(who, "map", found, Step):
        if not isinstance(step.shard, Shard) or not isinstance(step.n_items, int):
            raise PluginError(f"{who} gave a Step without a Shard or without a number of images from map")
        yield step


def refuse_another_batch(who: str, kept: FeatureBatch, read: Sequence[FeatureBatch]) -> None:
    """Raise if a store does not return what was just written to it."""
    start = 0
    for batch in read:
        rows = kept.matrix[start : start + len(batch)]
        start += len(batch)
        if batch.matrix.shape != rows.shape or (batch.matrix != rows).nnz:
            raise PluginError(f"{who} returns other values of {kept.space} than were written")


def item_ids(who: str, space: FeatureSpace, found: object) -> Texts:
    """The item ids that a store lists for a space, checked: text, each once."""
    known = found if isinstance(found, Texts) else Texts.of(listed(who, f"item_ids({space})", found, str))
    if not are_all_different(known):
        raise PluginError(f"{who} lists an item of {space} more than once")
    return known


def vectors(who: str, found: object, n: int, dim: int) -> Float32Array:
    """Embeddings of `n` images as float32, checked; a row that is not finite means an image without an embedding."""
    import numpy as np

    array = numbers(who, "embed", found, (n, dim))
    with np.errstate(over="ignore"):
        rows: Float32Array = array.astype(np.float32, copy=False)
    return rows


def judged(who: str, feature: Feature, found: object, n: int) -> FloatArray:
    """The scores that a judge gives `n` images, checked: from 0 to 1, NaN for an image that it cannot judge."""
    import numpy as np

    scores: FloatArray = numbers(who, f"judge for {feature}", found, (n,)).astype(np.float64)
    if ((scores < 0) | (scores > 1)).any():
        raise PluginError(
            f"{who} judged {feature} with scores from {np.nanmin(scores):g} to {np.nanmax(scores):g}, which must be "
            "from 0 to 1"
        )
    return scores


def numbers(who: str, method: str, found: object, shape: Sequence[int | str]) -> Any:
    """An array of numbers that a method returned, checked to be of a shape, in which names are lengths of any size."""
    import numpy as np

    words = str(tuple(shape)).replace("'", "")
    if not isinstance(found, np.ndarray):
        raise PluginError(f"{who} returned {kind_of(found)} from {method}, not an array of shape {words}")
    if found.dtype.kind not in "biuf":
        raise PluginError(f"{who} returned an array of {found.dtype} from {method}, not of numbers")
    fits = (isinstance(wanted, str) or n == wanted for n, wanted in zip(found.shape, shape, strict=False))
    if found.ndim != len(shape) or not all(fits):
        raise PluginError(f"{who} returned an array of shape {found.shape} from {method}, not {words}")
    return found


def one(who: str, method: str, found: object, kind: type) -> Any:
    """The object that a method returned, checked to be of a kind."""
    if not isinstance(found, kind):
        raise PluginError(f"{who} returned {kind_of(found)} from {method}, not a {kind.__name__}")
    return found


def spatial(who: str, found: object) -> SpatialFeatures:
    """The features of the patches of an image, checked to have a row for each."""
    given: SpatialFeatures = one(who, "extract_spatial", found, SpatialFeatures)
    numbers(who, "extract_spatial", given.features, (prod(given.grid), "n_features"))
    return given


def box(who: str, found: object) -> Box:
    """The part of a picture that an extractor says that it sees, checked: a tuple, or an array of four numbers."""
    edges = plain(found) if hasattr(found, "tolist") else found
    if not isinstance(edges, Sequence) or len(edges) != 4 or not all(isinstance(edge, Real) for edge in edges):
        raise PluginError(
            f"{who} returned {quoted(found)} from field_of_view, not four numbers: left, top, right, bottom"
        )
    left, top, right, bottom = edges
    return left, top, right, bottom


def results(who: str, method: str, found: object, n_items: int) -> Iterator[ScoreResult]:
    """What a scorer gives, checked: a column of images has a number for each."""
    for one in each(who, method, found, ScoreResult):
        if isinstance(one, ImageColumn) and len(one.values) != n_items:
            raise PluginError(f"{who} gave {one.name!r} of {len(one.values)} images, but there are {n_items}")
        yield one


def refuse_lacking(who: str, method: str, found: object, protocol: type) -> None:
    """Raise unless a method returned None or what has all methods of a protocol."""
    if found is not None and (lacking := missing_members(found, protocol)):
        raise PluginError(
            f"{who} returned {kind_of(found)} from {method}, which lacks {', '.join(lacking)} of a {protocol.__name__}"
        )


def selection(who: str, found: object, spaces: Iterable[FeatureSpace], ratings: Collection[str]) -> list[Selected]:
    """The features that a selector chose, checked: features and ratings of this run, each once, the best first."""
    sizes = {str(space): space.n_features for space in spaces}
    chosen = listed(who, "select", found, Selected)
    feature, times = Counter(choice.feature for choice in chosen).most_common(1)[0] if chosen else (None, 1)
    if times > 1:
        raise PluginError(f"{who} chose {feature} {times} times; a feature is selected once")
    for before, choice in zip([None, *chosen], chosen, strict=False):
        feature = choice.feature
        if not 0 <= feature.index < sizes.get(feature.space_name, 0):
            raise PluginError(f"{who} chose {feature}, which this run does not have")
        if choice.rating is not None and choice.rating not in ratings:
            raise PluginError(f"{who} chose {feature} for the rating {quoted(choice.rating)}, which this run lacks")
        if before is not None and choice.tier < before.tier:
            raise PluginError(
                f"{who} chose {feature} of tier {choice.tier} after {before.feature} of tier {before.tier}; the best "
                "come first"
            )
    return chosen


def cutoffs(who: str, found: object) -> list[TierCutoff]:
    """Where a selector's tiers begin, checked."""
    known = listed(who, "tier_cutoffs", found, TierCutoff)
    for one in known:
        if not isinstance(one.tier, Integral) or not all(isinstance(value, Real) for value in one[1:3]):
            raise PluginError(f"{who} returned {one} from tier_cutoffs, not a TierCutoff of numbers")
    return known


def label(who: str, found: object, feature: Feature) -> FeatureLabel:
    """The label that a labeler gives a feature, checked and cleaned; raises `LabelError` if its words are no name."""
    if not isinstance(found, FeatureLabel):
        raise PluginError(f"{who} returned {kind_of(found)} from label for {feature}, not a FeatureLabel")
    if not isinstance(found.details, Mapping):
        raise PluginError(f"{who} named {feature} with {kind_of(found.details)} as details, not a mapping")
    if wrong := unwritable(found.details):
        raise PluginError(f"{who} named {feature} with details that cannot be written as JSON: {wrong}")
    try:
        return checked(found)
    except TypeError as error:
        raise PluginError(f"{who} gave a label of {feature} whose {error}") from None
    except ValueError as error:
        raise LabelError(f"{who} gave {feature} no usable name: {error}") from None


def usage(who: str, method: str, found: object) -> Usage:
    """What a labeler says it costs, checked."""
    if not isinstance(found, Usage) or not all(isinstance(number, Integral) and number >= 0 for number in found):
        raise PluginError(f"{who} returned {quoted(found)} from {method}, not a Usage of whole numbers")
    return found


def provenance(who: str, found: object) -> dict[str, Any]:
    """Where results come from, checked, as it is written to `run.json`."""
    if not isinstance(found, Mapping):
        raise PluginError(f"{who} has {kind_of(found)} as provenance, not a mapping")
    if wrong := unwritable(found, may_be_nan=True):
        raise PluginError(f"{who} has a provenance that cannot be written as JSON: {wrong}")
    return dict(plain(found))


def report(who: str, found: object) -> Path:
    """The path of the report that a reporter says it wrote, checked to be a file."""
    if not isinstance(found, str | Path):
        raise PluginError(f"{who} returned {kind_of(found)} from write, not the path of its report")
    path = Path(found)
    if not path.exists():
        raise PluginError(f"{who} says that it wrote {path}, which is not there")
    if path.is_dir():
        raise PluginError(f"{who} returned the folder {path} from write, not the file to open")
    return path


def _words(kind: type | UnionType) -> str:
    """Objects of a kind, for a message."""
    if kind is str:
        return "text"
    names = [one.__name__ for one in (kind.__args__ if isinstance(kind, UnionType) else (kind,))]
    return f"{', '.join(names[:-1])} or {names[-1]} objects" if names[1:] else f"{names[0]} objects"
