"""What people note about a feature: a label of their own, a mark, and a few words."""

from __future__ import annotations

from dataclasses import astuple, dataclass, replace
from hashlib import sha256

from saeviz.values.errors import SaevizError
from saeviz.values.label_words import label_words, one_line

MARKS = ("interesting", "wrong", "done")
LONGEST = {"label": 400, "description": 1000, "text": 4000}
"""Maximum length of each text, in characters, before it is cleaned."""


@dataclass(frozen=True)
class Note:
    """What was noted about one feature; all fields are '' where nothing was.

    `label` and `description` correct those of the labeler, which are kept beside them; `mark` is one of `interesting`,
    `wrong` and `done`; `time` is when it was noted, in UTC.
    """

    label: str = ""
    description: str = ""
    mark: str = ""
    text: str = ""
    time: str = ""

    @property
    def is_empty(self) -> bool:
        """Whether nothing is noted, any more or at all."""
        return not (self.label or self.description or self.mark or self.text)

    @property
    def version(self) -> str:
        """Text that changes when the note does; '' where nothing is noted."""
        return sha256("\0".join(astuple(self)).encode()).hexdigest()[:16] if not self.is_empty else ""

    def cleaned(self) -> Note:
        """The note with its texts cleaned like a labeler's; `text` may have several lines.

        Raises `ValueError`, with the reason, for a label that cannot be one, an unknown mark, or text that is too long.
        """
        if self.mark not in ("", *MARKS):
            raise ValueError(f"{self.mark[:40]!r} is not a mark; choose {', '.join(MARKS)}, or '' for none")
        for name, most in LONGEST.items():
            text = getattr(self, name)
            if len(text) > most:
                raise ValueError(f"the {name} of a note has {len(text):,} characters; at most {most:,} are allowed")
        clean = self._cleaned_once()
        while (again := clean._cleaned_once()) != clean:  # markup may appear only when other markup is gone
            clean = again
        return clean

    def _cleaned_once(self) -> Note:
        return replace(
            self,
            label=label_words(self.label) if self.label.strip() else "",
            description=one_line(self.description),
            text="\n".join(map(one_line, self.text.splitlines())).strip(),
        )


class NoteChangedError(SaevizError):
    """The note was changed since the writer last saw it; `note` is what it says now."""

    def __init__(self, message: str, note: Note) -> None:
        super().__init__(message)
        self.note = note
