"""How much of a rating features explain together, compared with their model and an independent embedding."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from pydantic import Field

import saeviz


class PredictionOptions(saeviz.Options):
    """Options of the scorer `prediction`."""

    ratings: tuple[str, ...] | None = Field(None, description="ratings to predict; default: all")
    folds: int = Field(
        5,
        ge=3,
        le=20,
        description="number of folds: parts of the images, each predicted from the others",
    )
    max_images: int = Field(
        5000, ge=100, le=1_000_000, description="if more images are rated, use a random sample of this size (seeded)"
    )
    min_active: int = Field(
        10, ge=1, le=1_000_000, description="leave features that fire on fewer of these images out of the lasso"
    )
    raw_model: bool = Field(
        True, description="also predict from the model's own activations; runs the model over the images once more"
    )

    def check_data(self, place: str, ratings: Collection[str], _metadata: Collection[str], /) -> None:
        """Raise `ConfigError` for a rating that no image has."""
        from saeviz.toolkit.ratings import check_names

        check_names(self.ratings or (), ratings, f"{place}.ratings")

    def columns_of_images(self, ratings: Collection[str], /) -> list[str]:
        """What is predicted of every rating, and what is left of it."""
        chosen = ratings if self.ratings is None else self.ratings
        return [f"{column}.{rating}" for rating in chosen for column in ("predicted", "residual")]


@saeviz.hookimpl
def saeviz_scorers() -> Iterator[saeviz.ScorerSpec]:
    """The scorer `prediction`."""
    yield saeviz.ScorerSpec(
        name="prediction",
        summary="cross-validated ridge and lasso of each rating on all features, against the raw model",
        options=PredictionOptions,
        factory="saeviz_prediction.scorer:Prediction",
        columns=(
            saeviz.ColumnInfo(
                "lasso_weight",
                "weight in the lasso of the rating on all features of the space, 0 if left out",
                "SD of the rating (of a binary one, log odds) per SD of the feature",
            ),
            saeviz.ColumnInfo(
                "ridge_weight", "weight in the ridge model of the rating on all features", "rating per activation"
            ),
            saeviz.ColumnInfo(
                "predicted.*", "rating as a model that has not seen the image predicts it from all features"
            ),
            saeviz.ColumnInfo("residual.*", "rating minus its prediction"),
        ),
        needs=("sklearn",),
        install="saeviz[statistics]",
    )
