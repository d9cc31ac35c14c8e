"""Work out which optional part of a request a server rejects."""

from __future__ import annotations

import re
from collections.abc import Collection

from saeviz.toolkit.vlm.service import Extra, ServiceError

NEVER = frozenset({401, 402, 403, 408, 409, 413, 425, 429})
"""HTTP statuses that concern the key, the account or the load, whatever their message says."""
REFUSALS = frozenset({400, 404, 405, 406, 415, 422, 501})
BROKEN = 500
"""Some servers fail with this status on a schema; usually it means a broken server, so this is tried last."""

_SCHEMA = re.compile(
    r"schema|grammar|gbnf|structured|guided|constrained|json.?(mode|object|output)|xgrammar|outlines|logits.?processor|"
    r"response.?(format|mime)|output.?(config|format)",
    re.IGNORECASE,
)
_NAMED = {
    Extra.LIMIT: re.compile(r"max_(completion_)?tokens", re.IGNORECASE),
    Extra.SYSTEM: re.compile(
        r"(system|developer).{0,12}(role|message|prompt|instruction)|role.{0,20}(system|developer)|must alternate",
        re.IGNORECASE,
    ),
    Extra.RESOLUTION: re.compile(r"media.?resolution", re.IGNORECASE),
}
_OTHER = re.compile(
    # too much
    r"context.{0,20}(length|window|size|limit)|maximum (context|length)|too (many|long|large|big)|n_ctx|"
    r"exceeds?.{0,40}(token|context|limit)|reduce (the|your) (length|number|size)|"
    # the model, the images, the account
    r"(unknown|no such|invalid|missing) model|not a valid model|model_not_found|no models? (is )?loaded|"
    r"(model|deployment)\b.{0,100}(not found|n[o']t exist|not exist|unknown|unavailable|not available|not loaded|pull)|"
    r"\bimages?\b|image_url|vision|multi.?modal|content.?(policy|filter)|safety|moderation|blocked|"
    r"api.?key|credential|unauthori[sz]ed|permission|forbidden|billing|credit|quota|rate.?limit|overloaded",
    re.IGNORECASE | re.DOTALL,
)


def named(failure: ServiceError, sent: Collection[Extra]) -> Extra | None:
    """The extra that an error message refers to, None if it refers to something else or is unclear."""
    if failure.status is None or failure.status in NEVER or failure.status < 400:
        return None
    if Extra.SCHEMA in sent and _SCHEMA.search(failure.reason):
        return Extra.SCHEMA
    if _OTHER.search(failure.reason):
        return None
    return next((extra for extra, words in _NAMED.items() if extra in sent and words.search(failure.reason)), None)


def may_be_schema(failure: ServiceError) -> bool:
    """Whether the last error about a question, which names no part of the request, may be due to the schema."""
    is_model = failure.status == 404 and re.search("model|deployment", failure.reason, re.IGNORECASE)
    is_refusal = failure.status in REFUSALS or failure.status == BROKEN
    return is_refusal and not is_model and not _OTHER.search(failure.reason)
