"""The labeler, on whichever of Google's client libraries is asked for."""

from __future__ import annotations

import saeviz
from saeviz.toolkit.vlm import VLMLabeler
from saeviz_gemini import GeminiOptions
from saeviz_gemini.genai import GenAI
from saeviz_gemini.generativeai import GenerativeAI


def gemini(options: GeminiOptions, context: saeviz.Context) -> VLMLabeler:
    """A labeler that asks Gemini."""
    if options.sdk == "google-genai":
        return VLMLabeler(GenAI(options), options, context)
    context.logger.warning(
        "%s: google-generativeai reached its end of life on 2025-11-30 and is no longer maintained; pip "
        "install 'saeviz[gemini]' and remove the option",
        context.option("sdk"),
    )
    return VLMLabeler(GenerativeAI(options), options, context)
