"""The stages of a run, in their order. Each reads what earlier ones wrote; there is no way back."""

from __future__ import annotations

from saeviz.pipeline.stages.embed import Embed
from saeviz.pipeline.stages.extract import Extract
from saeviz.pipeline.stages.judge import Judge
from saeviz.pipeline.stages.judge_ratings import JudgeRatings
from saeviz.pipeline.stages.label import Label
from saeviz.pipeline.stages.report import Report
from saeviz.pipeline.stages.score import Score
from saeviz.pipeline.stages.select import Select
from saeviz.pipeline.stages.stage import Stage

STAGES: tuple[Stage, ...] = (
    Extract(),
    Embed("embed", "embeddings"),
    Embed("embed-second", "second_embeddings", is_optional=True),
    Score(),
    Select(),
    Label(),
    Judge(),
    JudgeRatings(),
    Report(),
)
STAGE_NAMES = tuple(stage.name for stage in STAGES)

__all__ = ["STAGES", "STAGE_NAMES", "Stage"]
