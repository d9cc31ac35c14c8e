"""A plugin that wants the name of a bundled component."""

import saeviz


@saeviz.hookimpl
def saeviz_feature_stores():
    """The name npz is taken."""
    yield saeviz.FeatureStoreSpec(name="npz", summary="not the real one", factory=dict)


@saeviz.hookimpl
def saeviz_scorers():
    """Withdrawn together with the store."""
    yield saeviz.ScorerSpec(name="innocent", summary="comes with the bad store", factory=dict)
