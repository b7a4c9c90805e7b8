"""Say how an emulator is to behave."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from vision_batch.models import MODELS, Model

#: Quotas of the limits page: jobs in a window, stored datasets, bytes of one and of all; and of S3: bytes of a part.
QUOTAS: Final[Mapping[str, int]] = MappingProxyType(
    {
        "jobs_per_hour": 10,
        "jobs_per_day": 100,
        "datasets": 100,
        "dataset_bytes": 5 * 10**9,
        "total_bytes": 300 * 10**9,
        "least_part_bytes": 5 * 10**6,
    }
)


@dataclass(frozen=True)
class Settings:
    """Hold what the command line asks for.

    :param speed: virtual seconds in a real one.
    :param api_key: the only key that is let in; ``None`` lets every key in.
    :param folder_id: the only folder that is let in; ``None`` lets every folder in.
    :param allow_data_logging: do not insist that data logging is switched off.
    :param windows: tokens of a model's window where it differs from the table's.
    :param added: models beside the eight, by id.
    """

    speed: float = 1.0
    api_key: str | None = field(default=None, repr=False)
    folder_id: str | None = None
    allow_data_logging: bool = False
    quotas: Mapping[str, int] = field(default_factory=lambda: QUOTAS)
    windows: Mapping[str, int] = field(default_factory=dict)
    added: Mapping[str, Model] = field(default_factory=dict)

    def model(self, model_id: str) -> Model | None:
        """Return a model that batch mode supports, or ``None``."""
        return MODELS.get(model_id) or self.added.get(model_id)

    def window(self, model: Model) -> int:
        """Return the window of a model in tokens."""
        return self.windows.get(model.id, model.window_tokens)
