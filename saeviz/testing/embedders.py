"""The contract of embedding providers, as a test suite."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast

import pytest

from saeviz.contract import handover
from saeviz.contract.context import Context
from saeviz.contract.mixins import OneItemEmbeddings
from saeviz.contract.roles import EmbeddingProvider, HasProvenance
from saeviz.testing.contract import Contract, needs
from saeviz.testing.data import Surroundings, pictures
from saeviz.values.images import ImageItem

if TYPE_CHECKING:
    from saeviz.typing import Float32Array

MakeEmbedder = Callable[[Context], EmbeddingProvider]


class EmbeddingProviderContract(Contract):
    """Subclass this and define the fixture `make`: a function that builds the embedder from a context."""

    subject = "embedder"
    tolerance: ClassVar[float] = 1e-4
    """Largest allowed difference between rows of the same image, relative to the largest value of a row."""

    @pytest.fixture
    def make(self) -> MakeEmbedder:
        """Builds the embedder under test."""
        raise NotImplementedError("define the fixture make")

    @pytest.fixture
    def surroundings(self, tmp_path: Path) -> Surroundings:
        """The embedder's context, and the failures that it reports."""
        return Surroundings(tmp_path, [*pictures(5), unreadable()])

    @pytest.fixture
    def embedder(self, make: MakeEmbedder, surroundings: Surroundings) -> EmbeddingProvider:
        """The embedder under test."""
        return make(surroundings.context)

    def test_is_an_embedding_provider(self, embedder: EmbeddingProvider) -> None:
        self.assert_is(embedder, EmbeddingProvider)
        handover.count("the embedder", "dim", embedder.dim)

    def test_gives_a_finite_float32_row_per_item(self, embedder: EmbeddingProvider) -> None:
        import numpy as np

        rows = rows_of(embedder, pictures(5))
        assert rows.dtype == np.float32, f"embed gives {rows.dtype}; float32 was expected"
        assert np.isfinite(rows).all(), "embed gives NaN or infinity for a picture that can be read"

    def test_no_items_give_no_rows(self, embedder: EmbeddingProvider) -> None:
        rows_of(embedder, [])

    def test_different_pictures_differ_and_the_same_one_does_not(self, embedder: EmbeddingProvider) -> None:
        first, second = pictures(2)
        again = ImageItem("another id", first.source)
        rows = rows_of(embedder, [first, second, again])
        assert self.is_close(rows[0], rows[2]), "the same picture under another id has another row"
        assert not self.is_close(rows[0], rows[1]), "two different pictures have the same row"

    def test_a_row_depends_on_its_own_picture_only(self, embedder: EmbeddingProvider) -> None:
        items = pictures(5)
        together = rows_of(embedder, items)
        for row, item in enumerate(items):
            assert self.is_close(rows_of(embedder, [item])[0], together[row]), (
                f"the row of {item.item_id!r} alone and among others differ by more than {self.tolerance} of it"
            )
        assert self.is_close(rows_of(embedder, items[::-1])[::-1], together), (
            "the rows of pictures in another order are not the same rows in that order"
        )

    def test_an_unreadable_picture_is_reported_and_gives_nan(
        self, embedder: EmbeddingProvider, surroundings: Surroundings
    ) -> None:
        import numpy as np

        one, two = pictures(2)
        rows = rows_of(embedder, [one, unreadable(), two])
        assert np.isnan(rows[1]).all(), "the row of a picture that cannot be read has numbers; all NaN was expected"
        assert np.isfinite(rows[[0, 2]]).all(), "a picture beside one that cannot be read has NaN or infinity"
        assert self.is_close(rows[[0, 2]], rows_of(embedder, [one, two])), (
            "a picture that cannot be read changes others"
        )
        assert_reported(surroundings)

    def test_nothing_but_unreadable_pictures_is_all_nan(self, embedder: EmbeddingProvider) -> None:
        import numpy as np

        rows = rows_of(embedder, [unreadable()])
        assert np.isnan(rows).all(), "the row of a picture that cannot be read has numbers; all NaN was expected"

    @pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I;16"])
    def test_takes_pictures_of_any_mode(self, embedder: EmbeddingProvider, mode: str) -> None:
        import numpy as np

        rows = rows_of(embedder, [blank(mode, (40, 30))])
        assert np.isfinite(rows).all(), f"a picture of mode {mode} has no row; convert pictures to RGB"

    @pytest.mark.parametrize("size", [(1, 1), (2, 200), (300, 3)])
    def test_takes_pictures_of_any_size(self, embedder: EmbeddingProvider, size: tuple[int, int]) -> None:
        import numpy as np

        rows = rows_of(embedder, [blank("RGB", size)])
        assert np.isfinite(rows).all(), f"a picture of {size[0]} x {size[1]} pixels has no row"

    @needs(OneItemEmbeddings)
    def test_embeds_one_item(self, embedder: EmbeddingProvider) -> None:
        get_embedding: Callable[[ImageItem | str], object] = cast("Any", embedder).get_embedding
        items = pictures(5)
        row = get_embedding(items[3])
        assert row is not None, "get_embedding gives None for a picture that can be read"
        assert self.is_close(row, rows_of(embedder, items)[3]), "get_embedding gives another row than embed"
        by_id = get_embedding(items[3].item_id)
        assert by_id is not None, "get_embedding gives None for the id of an image of the run"
        assert self.is_close(by_id, row), "get_embedding gives another row for an id than for its item"
        for item_id in ("absent", "unreadable"):
            assert get_embedding(item_id) is None, f"get_embedding gives a row for an image that is {item_id}"

    @needs(HasProvenance)
    def test_provenance_can_be_written_as_json(self, embedder: EmbeddingProvider) -> None:
        assert isinstance(embedder, HasProvenance), "the embedder has no provenance"
        rows_of(embedder, pictures(1))
        handover.provenance("the embedder", embedder.provenance)

    def is_close(self, found: object, expected: object) -> bool:
        """Whether rows are equal up to `tolerance`."""
        import numpy as np

        one, other = np.asarray(found), np.asarray(expected)
        return bool(one.shape == other.shape and np.abs(one - other).max() <= self.tolerance * np.abs(other).max())


def rows_of(embedder: EmbeddingProvider, items: Sequence[ImageItem]) -> Float32Array:
    """What the embedder gives of these items, checked as in a run to be an array of numbers of the right shape."""
    rows = embedder.embed(items)
    handover.vectors("the embedder", rows, len(items), handover.count("the embedder", "dim", embedder.dim))
    return rows


def assert_reported(surroundings: Surroundings) -> None:
    """Assert that the picture that cannot be read was reported by `context.failed`, once, and no other was."""
    reported = [subject for subject, _ in surroundings.failures]
    assert reported == ["unreadable"], (
        f"context.failed was told of {reported}; ['unreadable'] was expected, the picture that cannot be read"
    )


def unreadable() -> ImageItem:
    """An item that is not a picture."""
    return ImageItem("unreadable", b"not a picture")


def blank(mode: str, size: tuple[int, int]) -> ImageItem:
    """A uniform picture of this mode and size, as a TIFF; as a PNG for `LA` and `P`, which TIFF lacks."""
    from PIL import Image

    buffer = BytesIO()
    Image.new(mode, size, 1).save(buffer, "png" if mode in {"LA", "P"} else "tiff")
    return ImageItem(f"{mode} {size}", buffer.getvalue())
