"""The one place that decides whether SAEs, vision model and options belong together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from saeviz import Context, DataError, Tokens
from saeviz_vit.sae import SAEConfig

HOOK = "hook_resid_post"


@dataclass(frozen=True)
class BaseModel:
    """A vision model as its config describes it.

    `names` are what it is known by, none where that cannot be told (a weights file); `published` says that they
    are hub ids rather than names of local folders.
    """

    label: str
    names: tuple[str, ...]
    published: bool
    width: int
    n_blocks: int


@dataclass(frozen=True)
class Mismatch:
    """What does not fit; `debatable` where the shapes fit all the same and a user may insist."""

    text: str
    debatable: bool


def check_binding(
    config: SAEConfig,
    base: BaseModel,
    *,
    layer: int,
    tokens: Sequence[Tokens],
    source: str,
    insist: bool,
    context: Context,
) -> None:
    """Raises `DataError` that names both sides of every mismatch; warns of what was insisted on."""
    mismatches = list(_mismatches(config, base, layer, tokens))
    refused = [mismatch for mismatch in mismatches if not (mismatch.debatable and insist)]
    if refused:
        hint = "; set extractor.insist = true to use it all the same" if all(m.debatable for m in refused) else ""
        raise DataError(f"extractor.saes.{layer} ({source}): {'; '.join(m.text for m in refused)}{hint}")
    for mismatch in mismatches:
        context.logger.warning("extractor.saes.%s (%s): %s", layer, source, mismatch.text)
    if not base.published and base.names and not _same_model(config.model_name, base.names):
        context.logger.warning(
            "extractor.saes.%s (%s) was trained on %r; make sure that %s is this model",
            layer,
            source,
            config.model_name,
            base.label,
        )


def _mismatches(config: SAEConfig, base: BaseModel, layer: int, tokens: Sequence[Tokens]) -> Iterator[Mismatch]:
    if layer >= base.n_blocks:
        yield Mismatch(f"layer {layer} is asked for, but {base.label} has blocks 0 to {base.n_blocks - 1}", False)
    if config.d_in != base.width:
        yield Mismatch(f"it takes d_in = {config.d_in}, but {base.label} has width {base.width}", False)
    if config.layer != layer:
        yield Mismatch(f"it was trained on layer {config.layer}, but is used for layer {layer}", True)
    if config.hook != HOOK:
        yield Mismatch(f"it was trained on {config.hook}, but blocks are read at {HOOK}", True)
    wrong = untrained(config, tokens)
    if wrong:
        yield Mismatch(f"it was trained on {KINDS[config.trained_on]}, but tokens asks for {', '.join(wrong)}", True)
    if base.published and not _same_model(config.model_name, base.names):
        yield Mismatch(f"it was trained on {config.model_name!r}, but the model is {base.label}", True)


KINDS = {"all": "all tokens", "cls": "the class token only", "patches": "patch tokens only"}


def untrained(config: SAEConfig, tokens: Sequence[Tokens]) -> list[Tokens]:
    """Those of `tokens` that the SAE has never seen."""
    if config.trained_on == "all":
        return []
    return [kind for kind in tokens if (kind == "cls") != (config.trained_on == "cls")]


def _same_model(name: str, others: Sequence[str]) -> bool:
    return _bare(name) in {_bare(other) for other in others}


def _bare(name: str) -> str:
    """Without `open-clip:` and owner, which the same model is written with and without."""
    return name.replace("\\", "/").rstrip("/").split("/")[-1].split(":")[-1].lower()
