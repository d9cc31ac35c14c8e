"""The one place that decides whether SAEs, vision model and options belong together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from saeviz import Context, DataError, Tokens
from saeviz_vit.models.model import BaseModel
from saeviz_vit.saes.sae import SAEConfig

HOOK = "hook_resid_post"


@dataclass(frozen=True)
class Mismatch:
    """A mismatch; `debatable` if the shapes agree anyway, so that a user may allow it."""

    text: str
    debatable: bool


def check_binding(
    config: SAEConfig,
    base: BaseModel,
    *,
    layer: int,
    tokens: Sequence[Tokens],
    source: str,
    allow_mismatch: bool,
    context: Context,
) -> None:
    """Raise `DataError` that gives both values of every mismatch; warn about those that are allowed."""
    mismatches = list(_mismatches(config, base, layer, tokens))
    refused = [mismatch for mismatch in mismatches if not (mismatch.debatable and allow_mismatch)]
    if refused:
        hint = (
            "; set extractor.allow_mismatch = true to use it nevertheless" if all(m.debatable for m in refused) else ""
        )
        raise DataError(f"extractor.saes.{layer} ({source}): {'; '.join(m.text for m in refused)}{hint}")
    for mismatch in mismatches:
        context.logger.warning("extractor.saes.%s (%s): %s", layer, source, mismatch.text)
    for doubt in _doubts(config, base):
        context.logger.warning("extractor.saes.%s (%s) %s", layer, source, doubt)


def _doubts(config: SAEConfig, base: BaseModel) -> Iterator[str]:
    """Warnings about what only the user can check."""
    said = {"model": config.model_name, "layer": config.layer, "hook point": config.hook, "tokens": config.trained_on}
    unsaid = [name for name, value in said.items() if value is None]
    if unsaid:
        yield f"does not say what it was trained on ({', '.join(unsaid)}); check that it belongs to {base.label}"
    if config.model_name is not None and not base.published and not _same_model(config.model_name, base.names):
        yield f"was trained on {config.model_name!r}; check that {base.label} is this model"
    # SAEs of patches may count the class token or not.
    fits = base.n_patches is None or config.n_tokens in (None, base.n_patches, base.n_patches + 1)
    if not fits and config.trained_on != "cls":
        yield f"was trained on {config.n_tokens} tokens of an image, but {base.label} has {base.n_patches} patches"


def _mismatches(config: SAEConfig, base: BaseModel, layer: int, tokens: Sequence[Tokens]) -> Iterator[Mismatch]:
    if layer >= base.n_blocks:
        yield Mismatch(f"layer {layer} is requested, but {base.label} has blocks 0 to {base.n_blocks - 1}", False)
    if config.d_in != base.width:
        yield Mismatch(f"the SAE has d_in = {config.d_in}, but {base.label} has width {base.width}", False)
    if config.layer not in (layer, None):
        yield Mismatch(f"trained on layer {config.layer}, but used for layer {layer}", True)
    if config.hook not in (HOOK, None):
        yield Mismatch(f"trained on {config.hook}, but blocks are read at {HOOK}", True)
    wrong = untrained(config, tokens)
    if wrong:
        yield Mismatch(f"trained on {kind_of(config)}, but tokens requests {', '.join(wrong)}", True)
    if config.model_name is not None and base.published and not _same_model(config.model_name, base.names):
        yield Mismatch(f"trained on {config.model_name!r}, but the model is {base.label}", True)
    if config.image_size and base.image_size and config.image_size != base.image_size:
        yield Mismatch(
            f"trained on images of {config.image_size} pixels, but {base.label} is given {base.image_size}", True
        )


def kind_of(config: SAEConfig) -> str:
    """The tokens that the SAE was trained on, in words."""
    return {"cls": "the class token only", "patches": "patch tokens only"}.get(config.trained_on or "", "all tokens")


def untrained(config: SAEConfig, tokens: Sequence[Tokens]) -> list[Tokens]:
    """Those of `tokens` that the SAE was not trained on; empty if that is not known."""
    if config.trained_on in ("all", None):
        return []
    return [kind for kind in tokens if (kind == "cls") != (config.trained_on == "cls")]


def _same_model(name: str, others: Sequence[str]) -> bool:
    return _bare(name) in {_bare(other) for other in others}


def _bare(name: str) -> str:
    """The name without `open-clip:` and owner, which some files add and others omit."""
    return name.replace("\\", "/").rstrip("/").split("/")[-1].split(":")[-1].lower()
