"""Say what a picture costs on each model family, and the largest size that a budget allows.

Pure arithmetic, without Pillow. Each formula restates what the family's published image processor does and was
checked against runs of the real ones; where floats are used, they are what the processor uses, and must stay.
Sizes are pixels after orientation, width before height.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from vision_batch.errors import ImageRejected
from vision_batch.images import deepseek, gemma, qwen
from vision_batch.images.text_tokens import text_tokens_lower_bound, text_tokens_upper_bound
from vision_batch.models import Model

__all__ = [
    "Budget",
    "ImageRejected",
    "fit",
    "image_tokens",
    "prompt_tokens",
    "text_tokens_lower_bound",
    "text_tokens_upper_bound",
]

#: Tokens that a family puts around one image, beside its placeholders. Gemma's is an upper bound for one view.
_WRAPPER_TOKENS: Final = {"qwen": qwen.WRAPPER_TOKENS, "deepseek": 0, "gemma": gemma.WRAPPER_TOKENS}

#: From this many images in a request on, DeepSeek stops cutting them into tiles.
_UNTILED_FROM_IMAGES: Final = 3


@dataclass(frozen=True)
class Budget:
    """Share a model's window out, in tokens.

    :param window_tokens: what the model takes in all.
    :param answer_tokens: kept free for the answer (``max_tokens``).
    :param text_tokens: of the prompt; see :func:`text_tokens_upper_bound`.
    :param template_tokens: that the chat template adds; 9 to 19 were counted in the three families.
    :param margin_tokens: left over on purpose.
    """

    window_tokens: int
    answer_tokens: int
    text_tokens: int
    template_tokens: int = 32
    margin_tokens: int = 16

    @property
    def image_tokens(self) -> int:
        """Return what is left for the image with its wrapper; 0 when the rest fills the window."""
        taken = self.answer_tokens + self.text_tokens + self.template_tokens + self.margin_tokens
        return max(0, self.window_tokens - taken)


def image_tokens(model: Model, width: int, height: int, *, images: int = 1, pan_and_scan: bool = False) -> int:
    """Return how many placeholder tokens one image of this size costs.

    :param images: how many images the request has; three or more change DeepSeek's count.
    :param pan_and_scan: whether a Gemma server cuts crops as well; off in the published configuration.
    :raises ImageRejected: for a size that the family's processor refuses.
    """
    _require_pixels(width, height)
    if model.family == "qwen":
        return qwen.image_tokens(width, height)
    if model.family == "deepseek":
        return deepseek.image_tokens(width, height, tiled=images < _UNTILED_FROM_IMAGES)
    return gemma.image_tokens(width, height, pan_and_scan=pan_and_scan)


def prompt_tokens(model: Model, width: int, height: int, *, images: int = 1, pan_and_scan: bool = False) -> int:
    """Return how many tokens of the window one image of this size takes, its wrapper included.

    Exact for Qwen and DeepSeek; for Gemma at most two tokens too many, because its newlines can merge with the
    text beside them.

    :raises ImageRejected: for a size that the family's processor refuses.
    """
    if model.family == "gemma":
        _require_pixels(width, height)
        return gemma.prompt_tokens(width, height, pan_and_scan=pan_and_scan)
    return image_tokens(model, width, height, images=images) + _WRAPPER_TOKENS[model.family]


def fit(model: Model, width: int, height: int, budget_tokens: int, *, pan_and_scan: bool = False) -> tuple[int, int]:
    """Return the size to send: the largest useful one whose :func:`prompt_tokens` are within the budget.

    Never larger than the original, except where the processor has a smallest side (Qwen 28 pixels, Gemma 4) or a
    largest ratio of sides (Qwen 200, DeepSeek 767). The ratio is kept within one cell of 28 pixels; a picture
    beyond the largest ratio gets a canvas of that ratio. Never shrinks as the budget grows, and the target of a
    target is itself.

    :param budget_tokens: for the image with its wrapper, see :attr:`Budget.image_tokens`.
    :raises ImageRejected: if even the smallest image is over the budget.
    """
    _require_pixels(width, height)
    least = {"qwen": qwen.LEAST_TOKENS, "deepseek": deepseek.LEAST_TOKENS, "gemma": gemma.LEAST_TOKENS}[model.family]
    if budget_tokens < least:
        raise ImageRejected(
            "no_room",
            f"{max(0, budget_tokens)} tokens of the window of {model.id} are left for the image and it needs {least}: "
            "shorten the prompt, lower max_tokens or take a model with a wider window",
        )
    if model.family == "qwen":
        return qwen.fit(width, height, budget_tokens)
    if model.family == "deepseek":
        return deepseek.fit(width, height, budget_tokens)
    return gemma.fit(width, height, budget_tokens, pan_and_scan=pan_and_scan)


def _require_pixels(width: int, height: int) -> None:
    if width < 1 or height < 1:
        raise ImageRejected("empty", f"the size is {width}x{height}: both sides must be at least 1 pixel")
