"""Work out what one picture, or a size alone, becomes and costs on several models. Nothing is sent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vision_batch.errors import ImageRejected
from vision_batch.images.budget import Budget, fit, prompt_tokens
from vision_batch.images.opening import DEFAULT_LIMITS
from vision_batch.images.prepare import prepare_image
from vision_batch.models import Model


@dataclass(frozen=True)
class Size:
    """Name a size in pixels instead of a picture."""

    width: int
    height: int

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"


Picture = Path | Size


@dataclass(frozen=True)
class Sent:
    """Say what is sent of a picture.

    :param tokens: of the window, the image's wrapper included.
    :param bytes: ``None`` for a size without a picture.
    """

    stored: Size
    size: Size
    tokens: int
    bytes: int | None = None
    passed_through: bool = False
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Cost:
    """Hold what one picture costs on one model.

    :param rejected: why it cannot be sent; then ``sent`` is ``None``.
    """

    picture: Picture
    model: Model
    sent: Sent | None
    rejected: str | None = None

    @property
    def window_share(self) -> float:
        """Return the image's share of the model's window, 0 to 1."""
        return self.sent.tokens / self.model.window_tokens if self.sent else 0.0

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        sent = self.sent
        return {
            "image": str(self.picture),
            "model": self.model.id,
            "stored": str(sent.stored) if sent else None,
            "width": sent.size.width if sent else None,
            "height": sent.size.height if sent else None,
            "tokens": sent.tokens if sent else None,
            "bytes": sent.bytes if sent else None,
            "window_tokens": self.model.window_tokens,
            "window_share": round(self.window_share, 4) if sent else None,
            "passed_through": sent.passed_through if sent else None,
            "notes": list(sent.notes) if sent else [],
            "rejected": self.rejected,
        }


def costs(picture: Picture, budgets: Mapping[Model, Budget]) -> Iterator[Cost]:
    """Work out one picture's cost on each model; models that send it alike share the work."""
    try:
        data = _read(picture) if isinstance(picture, Path) else b""
    except (ImageRejected, OSError) as error:
        yield from (Cost(picture, model, None, str(error)) for model in budgets)
        return
    known: dict[tuple[str, int], Sent | str] = {}
    for model, budget in budgets.items():
        alike = (model.family, budget.image_tokens)
        if alike not in known:
            known[alike] = _sent(picture, data, model, budget)
        found = known[alike]
        yield Cost(picture, model, None, found) if isinstance(found, str) else Cost(picture, model, found)


def job_tokens(found: Sequence[Cost], budget: Budget) -> int:
    """Return the tokens of all pictures that can be sent, each with its prompt and the longest answer."""
    around = budget.window_tokens - budget.image_tokens
    return sum(cost.sent.tokens + around for cost in found if cost.sent)


def _read(path: Path) -> bytes:
    size, limit = path.stat().st_size, DEFAULT_LIMITS.max_bytes
    if size > limit:
        raise ImageRejected("too_many_bytes", f"the file has {size} bytes; the limit is {limit}")
    return path.read_bytes()


def _sent(picture: Picture, data: bytes, model: Model, budget: Budget) -> Sent | str:
    try:
        if isinstance(picture, Size):
            width, height = fit(model, picture.width, picture.height, budget.image_tokens)
            return Sent(picture, Size(width, height), prompt_tokens(model, width, height))
        made = prepare_image(data, model=model, budget_tokens=budget.image_tokens)
    except ImageRejected as rejected:
        return str(rejected)
    return Sent(
        stored=Size(made.source_width, made.source_height),
        size=Size(made.width, made.height),
        tokens=made.tokens,
        bytes=len(made.data),
        passed_through=made.passed_through,
        notes=made.notes,
    )
