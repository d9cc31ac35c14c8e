"""A plugin with a hook that does not exist."""

import saeviz


@saeviz.hookimpl
def saeviz_scorrers():
    """Misspelt."""
    yield saeviz.ScorerSpec(name="never", summary="never seen", factory=dict)
