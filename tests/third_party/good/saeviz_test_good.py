"""A well-made third-party plugin: a scorer with an option."""

from pydantic import Field

import saeviz


class CoverageOptions(saeviz.Options):
    """Options of `coverage`."""

    factor: float = Field(default=1.0, description="multiply the share by this")


class Coverage:
    """The share of images on which a feature fires."""

    def __init__(self, options, context):
        self.options = options

    def score(self, data):
        """One column, no target."""
        share = data.features.count_active() / data.n_items
        yield saeviz.ScoreColumn("coverage", data.space, share * self.options.factor)


@saeviz.hookimpl
def saeviz_scorers():
    """Offer the scorer."""
    yield saeviz.ScorerSpec(
        name="coverage", summary="share of images it fires on", options=CoverageOptions, factory=Coverage
    )
