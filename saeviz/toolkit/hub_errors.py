"""Explain why the Hugging Face hub did not send a file, and what to do."""

from __future__ import annotations

from typing import Any

from saeviz.formats.plain import shortened

LONGEST = 300


def what_the_hub_said(error: BaseException, repository: str) -> str | None:
    """Why a file of `repository` could not be downloaded, with the next step; None if the hub did not respond.

    `repository` is written as in the address of its page. `error` is what the hub's library raised; its causes are
    searched for the hub's response.
    """
    answered = _answer_behind(error)
    if answered is None:
        return None
    from huggingface_hub import constants

    status, own = answered.response.status_code, _own_words(answered)
    what, step = _what_and_step(answered, f"{constants.ENDPOINT}/{repository}", f"{constants.ENDPOINT}/settings/tokens")
    return f"{what} ({status}{own})" + (f": {step}" if step else "")


def _what_and_step(answered: Any, page: str, tokens: str) -> tuple[str, str]:
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    status = answered.response.status_code
    wait = answered.response.headers.get("Retry-After", "")
    when = f"in {wait} seconds" if wait.isdigit() else "in a few minutes"
    cases = (
        (
            isinstance(answered, GatedRepoError),
            "the repository is gated",
            f"accept its licence on {page}, create a token on {tokens}, and set HF_TOKEN to it",
        ),
        (isinstance(answered, RevisionNotFoundError), "the repository has no such revision", ""),
        (
            isinstance(answered, RepositoryNotFoundError),
            "no such repository on the hub, or it is private",
            "check the spelling; for a private repository set HF_TOKEN to a token with read access",
        ),
        (
            status in (401, 403),
            "the hub denies access",
            "set HF_TOKEN to a token with read access, or unset an invalid one",
        ),
        (
            status == 429,
            "too many requests to the hub",
            f"try again {when}; the limit is higher with HF_TOKEN set",
        ),
        (status >= 500, "the hub has an internal error", "try again later"),
    )
    return next(((what, step) for fits, what, step in cases if fits), ("the hub did not send the file", ""))


def _answer_behind(error: BaseException) -> Any:
    from huggingface_hub.errors import HfHubHTTPError

    seen: BaseException | None = error
    for _ in range(20):
        if isinstance(seen, HfHubHTTPError) and getattr(seen, "response", None) is not None:
            return seen
        seen = None if seen is None else seen.__cause__ or seen.__context__
    return None


def _own_words(error: Any) -> str:
    said = error.response.headers.get("X-Error-Message") or error.server_message or error.response.reason_phrase
    return f": {shortened(str(said), LONGEST)}" if said else ""
