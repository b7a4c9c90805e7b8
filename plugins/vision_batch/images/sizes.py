"""Read a picture's size from the beginning of its file, without its pixels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from vision_batch.errors import ImageRejected
from vision_batch.images.opening import DEFAULT_LIMITS, ImageLimits, open_image

#: Bytes read at first, then if that was not enough; the whole file comes last. Almost every header is in the first.
HEAD_BYTES: Final = (65_536, 1_048_576)

#: Reasons that more bytes could change.
_MAYBE_CUT: Final = frozenset({"truncated", "corrupt", "too_many_pixels"})


def picture_size(read: Callable[[int], bytes], *, limits: ImageLimits = DEFAULT_LIMITS) -> tuple[int, int]:
    """Return width and height after orientation, as :func:`~vision_batch.images.prepare.prepare_image` sees them.

    :param read: gives so many of the file's first bytes, all of them for a negative number.
    :raises ImageRejected: if the header shows already that the picture cannot be sent.
    """
    for length in HEAD_BYTES:
        head = read(length)
        try:
            return _size(head, limits)
        except ImageRejected as rejected:
            if len(head) < length or rejected.reason not in _MAYBE_CUT:
                raise
    return _size(read(-1), limits)


def _size(data: bytes, limits: ImageLimits) -> tuple[int, int]:
    opened = open_image(data, limits)
    return opened.width, opened.height
