"""Names a feature by the words that stand with its top images more often than with all images."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from pydantic import Field

import saeviz


class MetadataTermsOptions(saeviz.Options):
    """Options of `metadata-terms`."""

    columns: tuple[str, ...] = Field(
        (),
        description="metadata columns to read, ignoring case; default: those of title, tags, theme, caption, "
        "keywords, concepts and description that exist",
    )
    max_words: int = Field(3, ge=1, le=5, description="maximum number of words in a label")
    min_count: int = Field(
        2, ge=1, le=1_000_000, description="a word must occur with at least this many of the top images"
    )
    prior: float = Field(10.0, gt=0, le=1_000_000, description="strength of the prior, in images")
    min_confidence: float = Field(
        0.9,
        ge=0,
        le=1,
        description="leave out words below this confidence; 0.9 names at most 1 in 10 random groups of images",
    )
    stopwords: tuple[str, ...] = Field((), description="words to ignore, besides common English ones")

    def check_data(self, place: str, ratings: Collection[str], metadata: Collection[str], /) -> None:  # noqa: ARG002
        """Raise `ConfigError` if no image has a column that is named."""
        names = {column.casefold() for column in metadata}
        if absent := [column for column in self.columns if column.casefold() not in names]:
            have = f"they have {', '.join(sorted(metadata))}" if metadata else "they have no metadata at all"
            raise saeviz.ConfigError(f"{place}.columns: no image has a column {absent[0]!r}; {have}")


@saeviz.hookimpl
def saeviz_labelers() -> Iterator[saeviz.LabelerSpec]:
    """`metadata-terms`."""
    yield saeviz.LabelerSpec(
        name="metadata-terms",
        summary="names features with over-represented words of titles, tags or captions; no model, no network",
        options=MetadataTermsOptions,
        factory="saeviz_metadata_terms.labeler:MetadataTerms",
        cites=(
            saeviz.Citation(
                "Over-represented words",
                "Monroe, Colaresi & Quinn (2008)",
                "Fightin' Words: Lexical Feature Selection and Evaluation for Identifying the Content of Political "
                "Conflict",
                "Political Analysis, 16(4), 372\N{EN DASH}403",
            ),
        ),
    )
