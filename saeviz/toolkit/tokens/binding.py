"""The one place that decides whether SAEs, vision model and options belong together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import get_args

from saeviz.contract.context import Context
from saeviz.contract.saes import SAEConfig
from saeviz.toolkit.sae.options import Hook, HookPoint
from saeviz.toolkit.tokens.model import ModelInfo
from saeviz.values.errors import DataError


@dataclass(frozen=True)
class Mismatch:
    """A mismatch; `debatable` if the shapes agree anyway, so that a user may allow it."""

    text: str
    debatable: bool


def check_binding(
    config: SAEConfig,
    info: ModelInfo,
    *,
    point: HookPoint,
    tokens: Sequence[str],
    subject: str,
    allow_mismatch: bool,
    context: Context,
) -> None:
    """Raise `DataError` that gives both values of every mismatch; warn about those that are allowed."""
    found = list(mismatches(config, info, point, tokens, context.place))
    refused = [mismatch for mismatch in found if not (mismatch.debatable and allow_mismatch)]
    if refused:
        allowing = f"; set {context.option('allow_mismatch')} = true to use it nevertheless"
        hint = allowing if all(m.debatable for m in refused) else ""
        raise DataError(f"{subject}: {'; '.join(m.text for m in refused)}{hint}")
    for mismatch in found:
        context.logger.warning("%s: %s", subject, mismatch.text)
    for doubt in _doubts(config, info, point):
        context.logger.warning("%s %s", subject, doubt)


def _doubts(config: SAEConfig, info: ModelInfo, point: HookPoint) -> Iterator[str]:
    """Warnings about what only the user can check."""
    said = {"model": config.model_name, "layer": config.layer, "hook point": config.hook, "tokens": config.trained_on}
    of_none = ("layer", "tokens") if point.layer is None else ()
    unsaid = [name for name, value in said.items() if value is None and name not in of_none]
    if unsaid:
        yield f"does not say what it was trained on ({', '.join(unsaid)}); check that it belongs to {info.label}"
    if config.model_name is not None and not info.published and not _same_model(config.model_name, info.names):
        yield f"was trained on {config.model_name!r}; check that {info.label} is this model"
    # SAEs of patches may count the class token or not.
    fits = info.n_patches is None or config.n_tokens in (None, info.n_patches, info.n_patches + 1)
    if not fits and config.trained_on != "cls":
        yield f"was trained on {config.n_tokens} tokens of an image, but {info.label} has {info.n_patches} patches"


def mismatches(
    config: SAEConfig, info: ModelInfo, point: HookPoint, tokens: Sequence[str], place: str
) -> Iterator[Mismatch]:
    """What an SAE was trained on and is not used for."""
    layer, width = point.layer, info.embed_dim if point.layer is None else info.width
    if isinstance(layer, int) and info.n_blocks is not None and layer >= info.n_blocks:
        yield Mismatch(f"layer {layer} is requested, but {info.label} has blocks 0 to {info.n_blocks - 1}", False)
    if width is not None and config.d_in != width:
        what = "width" if layer is not None else "embeddings of length"
        yield Mismatch(f"the SAE has d_in = {config.d_in}, but {info.label} has {what} {width}", False)
    if layer is not None and config.layer not in (layer, None):
        yield Mismatch(f"trained on layer {config.layer}, but used for layer {layer}", True)
    if config.hook not in (f"hook_{point.hook}", None):
        what = "blocks are read" if layer is not None else "it is used"
        yield Mismatch(f"trained on {config.hook}, but {what} at hook_{point.hook}{_advice(config.hook, place)}", True)
    wrong = untrained(config, tokens) if layer is not None else []
    if wrong:
        yield Mismatch(f"trained on {kind_of(config)}, but tokens requests {', '.join(wrong)}", True)
    if config.model_name is not None and info.published and not _same_model(config.model_name, info.names):
        yield Mismatch(f"trained on {config.model_name!r}, but the model is {info.label}", True)
    if config.image_size and info.image_size and config.image_size != info.image_size:
        yield Mismatch(
            f"trained on images of {config.image_size} pixels, but {info.label} is given {info.image_size}", True
        )


def _advice(hook: str, place: str) -> str:
    """How to read an SAE at its own hook point, if that can be read."""
    table = f"[[{place.partition('.')[0]}.saes]]"  # a run file does not number the tables of [[extractors]]
    name = hook.removeprefix("hook_")
    return f" (a table {table} with hook = '{name}' reads it there)" if name in get_args(Hook) else ""


def kind_of(config: SAEConfig) -> str:
    """The tokens that the SAE was trained on, in words."""
    return {"cls": "the class token only", "patches": "patch tokens only"}.get(config.trained_on or "", "all tokens")


def untrained(config: SAEConfig, tokens: Sequence[str]) -> list[str]:
    """Those of `tokens` that the SAE was not trained on; empty if that is not known."""
    if config.trained_on in ("all", None):
        return []
    return [kind for kind in tokens if (kind == "cls") != (config.trained_on == "cls")]


def _same_model(name: str, others: Sequence[str]) -> bool:
    return _bare(name) in {_bare(other) for other in others}


def _bare(name: str) -> str:
    """The name without `open-clip:` and owner, which some files add and others omit."""
    return name.replace("\\", "/").rstrip("/").split("/")[-1].split(":")[-1].lower()
