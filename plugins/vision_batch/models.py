"""Know the eight vision-language models of the service's batch mode, and their URIs.

A table, without input or output: DAG parsing reads it for the dropdown of models.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from types import MappingProxyType
from typing import Any, Final, Literal, get_args

from vision_batch.errors import InputError, UnknownModelError

#: Which image processor a model has; it alone decides what a picture costs.
Family = Literal["qwen", "deepseek", "gemma"]

#: The older documentation page's figure for all eight models, and so the safe one.
DEFAULT_WINDOW_TOKENS: Final = 4096

#: The smallest charge of a job: AI Studio's pricing page, "batch processing".
MINIMUM_JOB_TOKENS: Final = 200_000

#: What a window may be set to.
LEAST_WINDOW_TOKENS: Final = 512
LARGEST_WINDOW_TOKENS: Final = 1_000_000

#: Windows that only the newer page promises (``yandex-cloud/docs``, ``ru/ai-studio/concepts/generation/
#: batch-processing.md`` at commit 0423c80; the older page, at fc60063, has 4096 for all). Used when a declaration or
#: a connection asks for them, never by default: a row above the true window fails.
WIDER_WINDOW_TOKENS: Final[Mapping[str, int]] = MappingProxyType(
    {"qwen2-vl-7b-instruct": 16_384, "qwen2.5-vl-7b-instruct": 16_384}
)

_SCHEME: Final = "gpt://"
_BRANCHES: Final = ("latest", "rc", "deprecated")
_SEGMENT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class Model:
    """Describe one model.

    :param id: the middle part of its URI, such as ``gemma-3-12b-it``.
    :param name: as people write it.
    :param family: whose image processor it has.
    :param price_coefficient: of the service's unit price per 1000 tokens in batch mode
        (price list ``rub-generating-batch``, unchanged since).
    :param licence: what the publisher's model card says: an SPDX id, or the name of a licence of its own.
    :param window_tokens: prompt, images and answer together. The table has 4096 for all eight; a declaration's
        ``window_tokens``, or else the connection's, replaces it.
    """

    id: str
    name: str
    family: Family
    price_coefficient: Decimal
    licence: str
    window_tokens: int = DEFAULT_WINDOW_TOKENS

    def uri(self, folder_id: str, branch: str = "latest", suffix: str | None = None) -> str:
        """Return the URI that a job names.

        :param branch: ``latest`` or ``rc``; an empty one gives ``gpt://folder/model/``, which also means latest.
        :param suffix: id of a tuned model, written after ``@``.
        :raises InputError: if a part cannot stand in a URI.
        """
        return str(ModelUri(folder_id, self.id, branch, suffix))


@dataclass(frozen=True)
class ModelUri:
    """Hold the parts of ``gpt://<folder>/<model>/<branch>[@<suffix>]``.

    :param branch: empty when the URI ends with ``/`` or names no branch.
    :param suffix: id of a tuned model, or ``None``.
    :raises InputError: if a part cannot stand in a URI.
    """

    folder_id: str
    model_id: str
    branch: str = "latest"
    suffix: str | None = None

    def __post_init__(self) -> None:
        parts = {"folder id": self.folder_id, "model": self.model_id}
        if self.branch or self.suffix is not None:
            parts["branch"] = self.branch
        if self.suffix is not None:
            parts["suffix"] = self.suffix
        for what, text in parts.items():
            if not _SEGMENT.fullmatch(text):
                raise InputError(
                    f"the {what} {text!r} cannot stand in a model URI: use letters, digits, '.', '_' and '-', "
                    "such as gpt://b1gexample/gemma-3-12b-it/latest"
                )

    def __str__(self) -> str:
        tail = "" if self.suffix is None else f"@{self.suffix}"
        return f"{_SCHEME}{self.folder_id}/{self.model_id}/{self.branch}{tail}"


_ALL: Final = (
    Model("qwen2-vl-7b-instruct", "Qwen2 VL 7B", "qwen", Decimal("0.5"), "Apache-2.0"),
    Model("qwen2.5-vl-7b-instruct", "Qwen2.5 VL 7B", "qwen", Decimal("0.5"), "Apache-2.0"),
    Model("qwen2.5-vl-32b-instruct", "Qwen2.5 VL 32B", "qwen", Decimal(2), "Apache-2.0"),
    Model("deepseek-vl2", "DeepSeek 2 VL", "deepseek", Decimal(2), "DeepSeek Model License"),
    Model("deepseek-vl2-tiny", "DeepSeek 2 VL Tiny", "deepseek", Decimal("0.5"), "DeepSeek Model License"),
    Model("gemma-3-4b-it", "Gemma 3 4B", "gemma", Decimal("0.5"), "Gemma Terms of Use"),
    Model("gemma-3-12b-it", "Gemma 3 12B", "gemma", Decimal(1), "Gemma Terms of Use"),
    Model("gemma-3-27b-it", "Gemma 3 27B", "gemma", Decimal(2), "Gemma Terms of Use"),
)

#: The eight by id, in the order of the service's documentation.
MODELS: Final[Mapping[str, Model]] = MappingProxyType({model.id: model for model in _ALL})


#: What settings must and may say of a model that they add.
_ADDED_FIELDS: Final = ("family", "name", "window_tokens", "price_coefficient", "licence")
#: The dearest of the eight, so that an estimate without a stated coefficient is not too low.
_UNKNOWN_COEFFICIENT: Final = 2


def added_model(model_id: str, found: Any) -> Model:
    """Return a model that settings add by naming its family.

    :param found: ``family``; where they are known also ``name``, ``window_tokens``, ``price_coefficient``, ``licence``.
    :raises InputError: names the field, what was found and what is allowed.
    """
    if model_id in MODELS or not _SEGMENT.fullmatch(model_id):
        raise InputError(f"{model_id!r} cannot be added: it is one of the eight, or no name that can stand in a URI")
    fields = found if isinstance(found, Mapping) else {}
    if unknown := fields.keys() - set(_ADDED_FIELDS):
        raise InputError(f"{model_id} has {sorted(map(str, unknown))}; allowed: {', '.join(_ADDED_FIELDS)}")
    family: Any = fields.get("family")
    if family not in get_args(Family):
        raise InputError(f"the family of {model_id} is {family!r}; allowed: {', '.join(get_args(Family))}")
    window = fields.get("window_tokens")
    return Model(
        id=model_id,
        name=str(fields.get("name", model_id)),
        family=family,
        price_coefficient=_checked_coefficient(model_id, fields.get("price_coefficient", _UNKNOWN_COEFFICIENT)),
        licence=str(fields.get("licence", "unknown")),
        window_tokens=DEFAULT_WINDOW_TOKENS if window is None else checked_window(window),
    )


def _checked_coefficient(model_id: str, found: Any) -> Decimal:
    try:
        coefficient = Decimal(str(found))
    except InvalidOperation:
        coefficient = Decimal("NaN")
    if not (coefficient.is_finite() and coefficient >= 0):
        raise InputError(f"the price_coefficient of {model_id} is {found!r}; allowed: a number, 0 or more")
    return coefficient


def checked_window(found: Any) -> int:
    """Return a window in tokens.

    :raises InputError: if it is not a whole number that a window can have.
    """
    try:
        window = int(str(found))
    except ValueError:
        window = 0
    if not LEAST_WINDOW_TOKENS <= window <= LARGEST_WINDOW_TOKENS:
        raise InputError(
            f"the window is {found!r}; allowed: a whole number from {LEAST_WINDOW_TOKENS} to {LARGEST_WINDOW_TOKENS}"
        )
    return window


def parse_model_uri(uri: str) -> ModelUri:
    """Split a model URI into its parts.

    ``gpt://folder/model`` and ``gpt://folder/model/`` have an empty branch; ``.../latest@id`` names a tuned model.

    :raises InputError: if it is not such a URI.
    """
    folder_id, _, rest = uri.removeprefix(_SCHEME).partition("/")
    model_id, _, tail = rest.partition("/")
    if not uri.startswith(_SCHEME) or not folder_id or not model_id:
        raise InputError(f"{uri!r} is not a model URI: write {_SCHEME}<folder id>/<model>/latest")
    branch, at, suffix = tail.partition("@")
    return ModelUri(folder_id, model_id, branch, suffix if at else None)


def may_be_same_model(asked: str, told: str) -> bool:
    """Tell whether a model's URI, as the service tells it, may mean the one that was asked.

    Recordings have it as it was sent. Only what contradicts that counts: another model, another of the known branches
    (none means latest), another tuned model. A URI that is absent or cannot be read contradicts nothing.
    """
    try:
        ours, theirs = parse_model_uri(asked), parse_model_uri(told)
    except InputError:
        return True
    branches = {ours.branch or _BRANCHES[0], theirs.branch or _BRANCHES[0]}
    other_branch = len(branches) > 1 and branches <= set(_BRANCHES)
    return (ours.model_id, ours.suffix) == (theirs.model_id, theirs.suffix) and not other_branch


def get_model(name_or_uri: str, *, known: Mapping[str, Model] = MODELS) -> Model:
    """Return the model with this id, ``<id>/<branch>`` or URI.

    :param known: the table to look in; settings that add a model pass their own.
    :raises UnknownModelError: if the table has no such model; names the nearest ones. The service itself would
        take a wrong model and fail the job seconds later.
    :raises InputError: if it looks like a URI and is none.
    """
    is_uri = "://" in name_or_uri
    model_id = parse_model_uri(name_or_uri).model_id if is_uri else name_or_uri.partition("/")[0]
    if (model := known.get(model_id)) is not None:
        return model
    by_lower = {name.lower(): name for item in known.values() for name in (item.id, item.name)}
    close = difflib.get_close_matches(model_id.lower(), by_lower, n=6, cutoff=0.5)
    ids = {item.name: item.id for item in known.values()}
    nearest = list(dict.fromkeys(ids.get(by_lower[name], by_lower[name]) for name in close))[:3]
    hint = f"did you mean {' or '.join(nearest)}?" if nearest else f"known are {', '.join(known)}"
    raise UnknownModelError(f"there is no model {model_id!r}: {hint}")
