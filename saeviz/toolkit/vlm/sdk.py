"""What the client libraries of OpenAI and Anthropic, made by the same generator, have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from saeviz.toolkit.bounded import IDENTITY, EndlessError, bounding
from saeviz.toolkit.retrying import seconds_to_wait
from saeviz.toolkit.vlm.options import VLMOptions
from saeviz.toolkit.vlm.service import Reply, ServiceError, http_reason, redirect_reason

MOST_BYTES = 16 * 2**20
"""Of one answer; a million tokens have four."""


def bounds(options: VLMOptions) -> dict[str, Any]:
    """Settings of a client of httpx, or of its successor, that follows no redirect and reads no endless answer."""
    hook = bounding(MOST_BYTES, options.timeout)
    return {"follow_redirects": False, "headers": IDENTITY, "event_hooks": {"response": [hook]}}


def client_of(library: Any, kind: type[Any], options: VLMOptions) -> Any:
    """A client that repeats nothing by itself."""
    return kind(
        api_key=options.sent_key(),
        base_url=options.base_url,
        timeout=options.timeout,
        max_retries=0,
        http_client=library.DefaultHttpxClient(**bounds(options)),
    )


def asked(
    library: Any, put: Callable[[], Reply], status_of: Callable[[Any, str], int], refused: Callable[[Any, str], bool]
) -> Reply:
    """What `put` gives; each failure of the library as a `ServiceError`.

    Of an error and the server's words `refused` says whether the service declines to answer, and `status_of` which
    status that means.
    """
    try:
        return put()
    except library.APIStatusError as error:
        if 300 <= error.status_code < 400:
            raise ServiceError(error.status_code, redirect_reason(error.response.headers)) from error
        reason = http_reason(error.response.content, error.message)
        if refused(error, reason):
            return Reply("", 0, 0, refusal=f"blocked: {reason}")
        raise ServiceError(status_of(error, reason), reason, seconds_to_wait(error.response.headers)) from error
    except library.APIConnectionError as error:
        raise ServiceError(None, f"{error} {error.__cause__ or ''}".strip()) from error
    except EndlessError as error:
        raise ServiceError(None, str(error)) from error
    except (library.APIError, ValueError, TypeError, AttributeError, LookupError) as error:
        raise ServiceError(None, f"the response could not be parsed ({type(error).__name__})") from error
