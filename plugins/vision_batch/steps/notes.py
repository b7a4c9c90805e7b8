"""Count what image preparation has noted, such as "the first of several frames or pages", for people to see."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

#: So many kinds of notes are told.
MOST_KINDS = 10

_NUMBER = re.compile(r"\d+x\d+")


class ImageNotes:
    """Collect the notes of many images; those that differ in a size only are of one kind."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._examples: dict[str, tuple[str, str]] = {}

    def add(self, item_key: str, notes: Iterable[str]) -> None:
        """Count an image's notes, each kind once."""
        for kind, note in {_NUMBER.sub("", note): note for note in notes}.items():
            self._counts[kind] += 1
            self._examples.setdefault(kind, (note, item_key))

    def lines(self) -> list[str]:
        """Return a line for each kind, the most frequent first, with the first image of it; not too many."""
        told = [
            f"{count} image{'' if count == 1 else 's'}: {self._examples[kind][0]}, such as {self._examples[kind][1]}"
            for kind, count in self._counts.most_common(MOST_KINDS)
        ]
        more = len(self._counts) - len(told)
        return [*told, f"{more} more kinds of notes"] if more else told
