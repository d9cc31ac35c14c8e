"""Names a feature by the words of a vocabulary that CLIP finds in its top images more than in random ones."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from pydantic import Field, StringConstraints, model_validator

import saeviz
from saeviz.toolkit.works import CLIP, OPEN_CLIP

Template = Annotated[str, StringConstraints(pattern=r"\{\}")]


class ClipVocabularyOptions(saeviz.Options):
    """Options of `clip-vocabulary`."""

    vocabulary: Path | None = Field(
        None,
        description="text file with one term a line; default: a built-in list of some 1,400 visual concepts",
        **saeviz.PATH,
    )
    terms: tuple[str, ...] = Field((), description="list of terms, in place of a file")
    templates: tuple[Template, ...] = Field(
        ("{}", "a photo of {}", "a picture with {}"),
        min_length=1,
        description="prompts in which {} is replaced by a term; their embeddings are averaged",
    )
    clip_checkpoint: str | None = Field(
        None,
        description="open_clip tag or checkpoint file of the CLIP to use; default: the CLIP of the run's extractor",
        **saeviz.PATH,
    )
    random_images: int = Field(
        200, ge=2, le=100_000, description="number of random images of the data set to compare with"
    )

    @model_validator(mode="after")
    def _is_one_vocabulary(self) -> ClipVocabularyOptions:
        if self.vocabulary is not None and self.terms:
            raise ValueError("give a vocabulary or terms, not both")
        return self


@saeviz.hookimpl
def saeviz_labelers() -> Iterator[saeviz.LabelerSpec]:
    """`clip-vocabulary`."""
    yield saeviz.LabelerSpec(
        name="clip-vocabulary",
        summary="names features with terms of a list that fit by CLIP similarity; no network, no API key",
        options=ClipVocabularyOptions,
        factory="saeviz_clip_vocabulary.labeler:ClipVocabulary",
        judges_itself=True,
        cites=(CLIP, OPEN_CLIP),
    )
