"""What both client libraries' answers and errors mean."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from saeviz.toolkit.vlm import Reply, ServiceError, http_reason, redirect_reason, seconds_to_wait

FINISHED = ("STOP", "FINISH_REASON_UNSPECIFIED", "")
NO_MORE_TODAY = 402


def reply(text: str, finish: str, blocked: str, tokens: tuple[int, int], model: str) -> Reply:
    """A reply from the reason why the answer ended and the reason why the question was blocked, '' where it was not."""
    is_cut_off = finish == "MAX_TOKENS"
    refusal = f"the request was blocked ({blocked})" if blocked else ""
    if not refusal and finish not in FINISHED and not is_cut_off and not finish.startswith("MALFORMED"):
        refusal = f"the answer was blocked ({finish})"
    return Reply(text, *tokens, model=model, is_cut_off=is_cut_off, refusal=refusal)


def failure(status: int, body: Any, headers: Mapping[str, str], default: str) -> ServiceError:
    """From the body of an error, decoded or not, as the API writes it.

    That is `{"error": {"code", "message", "status", "details"}}`; other servers write less.
    """
    if 300 <= status < 400:
        return ServiceError(status, redirect_reason(headers))
    body = _decoded(body)
    error = body.get("error", body) if isinstance(body, Mapping) else {}
    details = error.get("details") if isinstance(error, Mapping) else None
    notes = [note for note in details or () if isinstance(note, Mapping)]
    if any(note.get("reason") in ("API_KEY_INVALID", "API_KEY_EXPIRED") for note in notes):
        status = 401
    if any("PerDay" in quota for quota in _quotas(notes)):
        status = NO_MORE_TODAY
    wait = seconds_to_wait(headers)
    return ServiceError(status, http_reason(body, default), _retry_delay(notes) if wait is None else wait)


def _decoded(body: Any) -> Any:
    try:
        return json.loads(body) if isinstance(body, str | bytes) else body
    except (ValueError, RecursionError):
        return body


def _quotas(notes: Iterable[Mapping[str, Any]]) -> list[str]:
    violations = [violation for note in notes for violation in note.get("violations") or ()]
    return [str(violation.get("quotaId", "")) for violation in violations if isinstance(violation, Mapping)]


def _retry_delay(notes: Iterable[Mapping[str, Any]]) -> float | None:
    """`"retryDelay": "38s"` of a google.rpc.RetryInfo."""
    for note in notes:
        try:
            return float(str(note["retryDelay"]).removesuffix("s"))
        except (KeyError, ValueError):
            continue
    return None
