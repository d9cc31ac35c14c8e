"""Name features with a vision-language model behind a web service: everything except the service's protocol.

A plugin implements `Service` and a subclass of `VLMOptions`; `VLMLabeler` does the rest. See
`docs/how-to/labeling.md` for what is sent and how errors are handled.
"""

from __future__ import annotations

from saeviz.toolkit.retrying import seconds_to_wait
from saeviz.toolkit.vlm.labeler import VLMLabeler
from saeviz.toolkit.vlm.options import VLMOptions
from saeviz.toolkit.vlm.service import (
    Extra,
    Part,
    Picture,
    Question,
    Reply,
    Service,
    ServiceError,
    http_reason,
    redirect_reason,
    text_of,
    tokens_of,
)

__all__ = [
    "Extra",
    "Part",
    "Picture",
    "Question",
    "Reply",
    "Service",
    "ServiceError",
    "VLMLabeler",
    "VLMOptions",
    "http_reason",
    "redirect_reason",
    "seconds_to_wait",
    "text_of",
    "tokens_of",
]
