"""The stages of a run, in their order. Each reads what earlier ones wrote; there is no way back."""

from __future__ import annotations

from saeviz.stages.embed import EMBED_SECOND, Embed
from saeviz.stages.extract import Extract
from saeviz.stages.judge import Judge
from saeviz.stages.label import Label
from saeviz.stages.report import Report
from saeviz.stages.score import Score
from saeviz.stages.select import Select
from saeviz.stages.stage import Stage

STAGES: tuple[Stage, ...] = (
    Extract(),
    Embed("embed", "embeddings"),
    Embed(EMBED_SECOND, "second_embeddings"),
    Score(),
    Select(),
    Label(),
    Judge(),
    Report(),
)
STAGE_NAMES = tuple(stage.name for stage in STAGES)

__all__ = ["EMBED_SECOND", "STAGES", "STAGE_NAMES", "Stage"]
