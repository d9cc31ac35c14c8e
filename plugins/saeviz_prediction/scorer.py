"""The scorer `prediction`: ratings from all features at once, on images that took no part in fitting."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from saeviz import Context, FeatureSpace, ImageColumn, ScoreColumn, ScoreFact, ScoreInput
from saeviz_prediction import PredictionOptions
from saeviz_prediction.folds import Accuracy, others
from saeviz_prediction.logistic import chances
from saeviz_prediction.model import MOST_RATINGS, models
from saeviz_prediction.nested import nested_lasso
from saeviz_prediction.ridge import Spectrum, gram, spectrum_of_gram, spectrum_of_vectors
from saeviz_prediction.sample import Rated, Sample, draw_sample, features_of

if TYPE_CHECKING:
    from scipy.sparse import csr_array

    from saeviz.typing import FloatArray, IntArray


MakeSpectrum = Callable[["IntArray", "IntArray"], Spectrum]
Entry = dict[str, Any]


class Prediction:
    """Out-of-fold R^2 of each rating from all features of a space, the model's activations, and the embeddings.

    The fact `prediction` has for each rating a list of predictors with `method` (`ridge` or `lasso`), `source`
    (`features`, `activations` or `embeddings`), `space` (`all` for the features of all spaces together, '' for
    embeddings), `n_images`, `n_inputs`, `r2`, `r2_sd` over folds, mean `r` over folds, and for lasso `n_kept`, the
    features kept when fitted to all images. Both are logistic for a binary rating, whose entries have `auc` and
    `auc_sd` over folds; `r2` is then that of the predicted chances. The column `lasso_weight` has the weights of the
    fit to all images, in standard deviations of the rating (of a binary one, its log odds) per standard deviation of
    the feature: 0 = not kept, NaN = not considered, since it is active on fewer than `min_active` of the images; with
    more than 100 ratings it has rows for kept features only. Of images with groups, none is predicted from others
    of its group; `prediction_by_group` says so. Of each image `predicted.RATING` and `residual.RATING` are by ridge
    of the features of all spaces, out of fold; NaN for an image that took no part. The column `ridge_weight` has
    the weights of the same model fitted to all images that took part: their sum over all features of all spaces,
    each times its activation, and the rating's number in the fact `prediction_intercepts` are the rating that is
    predicted of any image, or its log odds if it is binary.
    """

    def __init__(self, options: PredictionOptions, context: Context) -> None:
        self.options = options
        self.context = context
        self._found: dict[FeatureSpace, dict[str, list[Entry]]] = {}
        self._together = _Together()
        self._by_group = False
        self._of_images: list[ImageColumn] = []

    def score(self, data: ScoreInput) -> Iterator[ScoreColumn]:
        """The columns of one space; its figures come with `combine`."""
        names = self._chosen(data)
        self._by_group = data.groups is not None
        sample = draw_sample(data, names, self.options, self.context)
        usable, reasons = sample.rated(self.options.folds)
        for name, reason in reasons.items():
            self.context.logger.warning("prediction: rating %r is not predicted: %s", name, reason)
        found: dict[str, list[Entry]] = {rated.name: [] for rated in usable}
        is_first = not self._found.keys() - {data.space}
        self._found[data.space] = found
        if not usable:
            return
        columns = features_of(data, sample.rows)
        products = gram(columns)
        self._together.add(data, sample, products, columns)
        columns = columns.tocsc()
        space = str(data.space)
        n_inputs = columns.shape[1]
        predicted = self._add_ridge(
            found, usable, _of_gram(products), source="features", space=space, n_inputs=n_inputs
        )
        self._of_images = list(_image_columns(sample, data.n_items, usable, predicted))
        for rated in self.context.progress(usable, len(usable), f"lasso of {space}"):
            accuracy, weights, n_kept = nested_lasso(
                columns[rated.rows], rated.values, rated.folds, self.options.min_active
            )
            entry = {"method": "lasso", "source": "features", "space": space, "n_inputs": n_inputs}
            found[rated.name].append(entry | _figures(rated, accuracy) | {"n_kept": n_kept})
            yield _lasso_column(data.space, rated.name, weights, is_one_of_many=len(usable) > MOST_RATINGS)
        for source, vectors in sample.vectors.items():
            if source == "activations" or is_first:  # embeddings are the same in all spaces
                of_space = space if source == "activations" else ""
                dim = vectors.shape[1]
                self._add_ridge(found, usable, _of_vectors(vectors), source=source, space=of_space, n_inputs=dim)

    def combine(self, columns: Sequence[ScoreColumn]) -> Iterator[ScoreColumn | ScoreFact | ImageColumn]:
        """The fact `prediction`, with what all spaces predict together, and what they predict of each image."""
        spaces = list(dict.fromkeys(column.space for column in columns))
        if not spaces:
            return
        figures: dict[str, list[Entry]] = {}
        for space in spaces:
            for name, entries in self._found[space].items():
                figures.setdefault(name, []).extend(entries)
        is_together = self._together.spaces == spaces
        if not is_together:
            self._of_images = []
            self.context.logger.warning(
                "prediction: spaces do not have the same images with an activation and an embedding, so nothing is "
                "predicted from all of them together, and images.parquet has no predictions"
            )
        if len(spaces) > 1 and is_together and self._together.sample is not None:
            usable, _ = self._together.sample.rated(self.options.folds)
            n_inputs = sum(space.n_features for space in spaces)
            spectrum = _of_gram(self._together.products)
            predicted = self._add_ridge(figures, usable, spectrum, source="features", space="all", n_inputs=n_inputs)
            self._of_images = list(_image_columns(self._together.sample, self._together.n_items, usable, predicted))
        yield from self._of_images
        if is_together:
            yield from self._together.weights(self.options.folds)
        yield ScoreFact("prediction", figures)
        yield ScoreFact("prediction_folds", self.options.folds)
        yield ScoreFact("prediction_by_group", self._by_group)
        yield ScoreFact("prediction_max_images", self.options.max_images)

    def _add_ridge(
        self,
        found: dict[str, list[Entry]],
        usable: Sequence[Rated],
        spectrum: MakeSpectrum,
        *,
        source: str,
        space: str,
        n_inputs: int,
    ) -> list[FloatArray]:
        """Add the figures of each rating; returns what is predicted of its images out of fold."""
        accuracies, predicted = _ridge(usable, spectrum)
        for rated, accuracy in zip(usable, accuracies, strict=True):
            entry = {"method": "ridge", "source": source, "space": space, "n_inputs": n_inputs}
            found[rated.name].append(entry | _figures(rated, accuracy))
        return predicted

    def _chosen(self, data: ScoreInput) -> list[str]:
        self.options.check_data("scorers.prediction", data.ratings, data.metadata)
        if not data.ratings:
            self.context.logger.warning("prediction: the images have no ratings, so there is nothing to predict")
        return list(data.ratings if self.options.ratings is None else self.options.ratings)


class _Together:
    """The inner products of images in the features of all spaces so far, as long as these have the same images."""

    def __init__(self) -> None:
        self.spaces: list[FeatureSpace] = []
        self.sample: Sample | None = None
        self.n_items = 0
        self.products: FloatArray = np.zeros((0, 0))
        self.features: list[csr_array] = []

    def add(self, data: ScoreInput, sample: Sample, products: FloatArray, features: csr_array) -> None:
        space = data.space
        if self.sample is None or space in self.spaces or self.sample.item_ids != sample.item_ids:
            self.spaces, self.products, self.features = [], np.zeros_like(products), []
        self.spaces.append(space)
        self.sample, self.n_items = sample, data.n_items
        self.products += products
        self.features.append(features.astype(np.float32))  # as they were stored, in half the memory

    def weights(self, folds: int) -> Iterator[ScoreColumn | ScoreFact]:
        """The ridge models of all spaces together, if there are not too many ratings."""
        usable = self.sample.rated(folds)[0] if self.sample else []
        if not 0 < len(usable) <= MOST_RATINGS:
            return
        intercepts = {}
        for rated, shares, intercept in models(usable, self.products):
            intercepts[rated.name] = intercept
            for space, features in zip(self.spaces, self.features, strict=True):
                yield ScoreColumn("ridge_weight", space, features[rated.rows].T @ shares, target=rated.name)
        yield ScoreFact("prediction_intercepts", intercepts)


def _lasso_column(space: FeatureSpace, rating: str, weights: FloatArray, *, is_one_of_many: bool) -> ScoreColumn:
    """Of many ratings only what is kept: all would be a table of all features with all ratings."""
    kept = np.flatnonzero(np.nan_to_num(weights)) if is_one_of_many else None
    return ScoreColumn("lasso_weight", space, weights if kept is None else weights[kept], rating, kept)


def _of_gram(products: FloatArray) -> MakeSpectrum:
    return lambda train, test: spectrum_of_gram(products, train, test)


def _of_vectors(vectors: FloatArray) -> MakeSpectrum:
    return lambda train, test: spectrum_of_vectors(vectors, train, test)


def _figures(rated: Rated, accuracy: Accuracy) -> Entry:
    figures = {"n_images": rated.rows.size, "r2": accuracy.r2, "r2_sd": accuracy.r2_sd, "r": accuracy.r}
    return figures | ({"auc": accuracy.auc, "auc_sd": accuracy.auc_sd} if accuracy.kind == "binary" else {})


def _image_columns(
    sample: Sample, n_items: int, usable: Sequence[Rated], predicted: Sequence[FloatArray]
) -> Iterator[ImageColumn]:
    """Of each rating `predicted.RATING` and `residual.RATING`; NaN for images that are not in the sample."""
    for rated, expected in zip(usable, predicted, strict=True):
        values = np.full((2, n_items), np.nan)
        values[:, sample.rows[rated.rows]] = expected, rated.values - expected
        yield ImageColumn(f"predicted.{rated.name}", values[0])
        yield ImageColumn(f"residual.{rated.name}", values[1])


def _ridge(usable: Sequence[Rated], spectrum: MakeSpectrum) -> tuple[list[Accuracy], list[FloatArray]]:
    """For each rating an accuracy and what is predicted of its images out of fold.

    It is logistic if the rating is binary; ratings of the same images share what is costly.
    """
    out_of_fold = [np.full(rated.rows.size, np.nan) for rated in usable]
    accuracies = [Accuracy(rated.kind) for rated in usable]
    by_images: dict[bytes, list[int]] = {}
    for place, rated in enumerate(usable):
        by_images.setdefault(rated.rows.tobytes(), []).append(place)
    for places in by_images.values():
        first = usable[places[0]]
        ratings = np.column_stack([usable[place].values for place in places])
        for test in first.folds:
            train = others(first.rows.size, test)
            fitted = spectrum(first.rows[train], first.rows[test])
            groups = None if first.groups is None else first.groups[train]
            penalties = fitted.best_penalties(ratings[train], groups).tolist()
            for place, penalty, values in zip(places, penalties, ratings.T, strict=True):
                known = values[train]
                fit = chances if accuracies[place].kind == "binary" else Spectrum.predict
                predicted = fit(fitted, known, penalty)
                accuracies[place].add(values[test], predicted, float(known.mean()))
                out_of_fold[place][test] = predicted
    return accuracies, out_of_fold
