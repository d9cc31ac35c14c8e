"""A plugin for a later plugin API."""

import saeviz

SAEVIZ_API = saeviz.API_VERSION + 1


@saeviz.hookimpl
def saeviz_scorers():
    """Might use anything that this saeviz does not have."""
    yield saeviz.ScorerSpec(name="futuristic", summary="from the future", factory=dict)
