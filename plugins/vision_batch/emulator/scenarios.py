"""Name every fault the emulator can show, and keep those that are waiting for their occasion.

Faults of a job are bound to it when it is accepted, so several shape one job together; the others happen at a call or
a transfer. Everything is deterministic: the same scenario on the same rows gives the same fault.
"""

from __future__ import annotations

import asyncio
import json
import reprlib
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, get_args

import grpc

from vision_batch.emulator.records import ActiveScenario, Alive, ResultPart

#: What a parameter may be: the type of its value, or the words to choose from.
Allowed = type | tuple[str, ...]


@dataclass(frozen=True)
class Kind:
    """Describe one scenario.

    :param occasion: what uses it up: a ``job``, a ``cancel``, a ``validation``, a ``list``, a ``call``, a ``reply``, a
        ``url``, a ``part``, or a ``download``.
    :param params: the names of its parameters, and what each may be.
    """

    occasion: str
    params: Mapping[str, Allowed] = field(default_factory=dict)
    always: bool = False


#: The largest number that a parameter may be: a float holds it exactly, and no clock gets there.
_LARGEST: Final = 10**9
_ROWS: Final = {"rows": list, "count": int, "seed": int}
_CODES: Final = tuple(code.name for code in grpc.StatusCode if code is not grpc.StatusCode.OK)

#: Every scenario by name. ``docs/emulator.md`` explains them.
KINDS: Final[Mapping[str, Kind]] = {
    "shuffled_rows": Kind("job", {"seed": int}),
    "several_files": Kind("job", {"files": int}),
    "missing_rows": Kind("job", _ROWS),
    "duplicated_rows": Kind("job", _ROWS),
    "foreign_rows": Kind("job", {"count": int}),
    "null_response": Kind("job", _ROWS),
    "image_reencoded": Kind("job", _ROWS),
    "image_left_out": Kind("job", {**_ROWS, "part": ("null", "removed")}),
    "line_errors": Kind("job", {**_ROWS, "message": str, "base": int, "present": ("absent", "null", "empty")}),
    "batch_errors": Kind("job", {"first": int, "last": int, "message": str, "base": int}),
    "bad_line_fails_job": Kind("job", {**_ROWS, "message": str, "base": int}),
    "failed_with_result": Kind("job", {"rows": int, "seconds": float}),
    "failed_without_reason": Kind("job", {"seconds": float}),
    "canceled": Kind("job", {"seconds": float}),
    "late_visibility": Kind("job", {"seconds": float}),
    "late_result": Kind("job", {"part": get_args(ResultPart), "seconds": float}),
    "hold_job": Kind("job", {"status": get_args(Alive)}),
    "cancel_refused_before_in_progress": Kind("cancel", always=True),
    "validation_failure": Kind("validation", {"rows": list, "error": str, "description": str}),
    "validation_breaks": Kind("validation", {"code": _CODES, "message": str}),
    "overlapping_pages": Kind("list", {"size": int}, always=True),
    "hold_call": Kind("call", {"method": str}),
    "unavailable_before_submit": Kind("call"),
    "resource_exhausted": Kind("call", {"method": str}),
    "failed_call": Kind(
        "call", {"method": str, "code": _CODES, "message": str, "how": ("refuse", "hang"), "seconds": float}
    ),
    "reply_lost": Kind("reply", {"how": ("refuse", "hang", "die"), "code": _CODES, "seconds": float}),
    "expired_url": Kind("url", {"on": ("upload", "download"), "after": int}),
    "part_http_500": Kind("part", {"part": int}),
    "upload_hangs": Kind("part", {"stored": int}),
    "download_cut": Kind("download", {"bytes": int}),
}


class ScenarioError(ValueError):
    """Say that a scenario cannot be understood."""


class Scenarios:
    """Hold the active scenarios.

    :param save: writes the whole list to the state.
    """

    def __init__(self, active: list[ActiveScenario], save: Callable[[list[ActiveScenario]], None]) -> None:
        self._active = active
        self._save = save
        self._cleared: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
        #: How many calls wait for scenarios to be cleared, by name.
        self.hanging: Counter[str] = Counter()

    @property
    def active(self) -> list[ActiveScenario]:
        """Give the scenarios that still wait."""
        return list(self._active)

    def add(self, *scenarios: ActiveScenario) -> None:
        """Make scenarios active, after the earlier ones."""
        together = [*self._active, *scenarios]
        self._save(together)
        self._active = together

    def clear(self, name: str | None = None) -> None:
        """Forget all scenarios, or those of one name, and let calls go on that hang because of them."""
        self._active = [scenario for scenario in self._active if name is not None and scenario.name != name]
        self._save(self._active)
        for each in [each for each in self._cleared if name in (None, each)]:
            self._cleared.pop(each).set()

    async def until_cleared(self, name: str) -> None:
        """Wait until scenarios of a name are forgotten."""
        self.hanging[name] += 1
        try:
            await self._cleared[name].wait()
        finally:
            self.hanging[name] -= 1

    def take(self, name: str, fits: Callable[[dict[str, Any]], bool] = lambda _: True) -> dict[str, Any] | None:
        """Use up one time of a scenario and return its parameters, or ``None`` if none is active.

        :param fits: tells by the parameters whether this is the occasion meant.
        """
        for scenario in self._active:
            if scenario.name == name and fits(scenario.params):
                self._use(scenario)
                self._save(self._active)
                return scenario.params
        return None

    def take_all(self, occasion: str) -> dict[str, dict[str, Any]]:
        """Use up one time of every scenario with this occasion; the first of a name counts."""
        taken: dict[str, dict[str, Any]] = {}
        for scenario in list(self._active):
            if KINDS[scenario.name].occasion == occasion and scenario.name not in taken:
                taken[scenario.name] = scenario.params
                self._use(scenario)
        if taken:
            self._save(self._active)
        return taken

    def _use(self, scenario: ActiveScenario) -> None:
        if scenario.times is not None:
            scenario.times -= 1
            if scenario.times <= 0:
                self._active.remove(scenario)


def parse_scenario(found: Any) -> ActiveScenario:
    """Read ``{"name": ..., "times": ..., "params": {...}}``.

    :raises ScenarioError: names what is wrong and what is allowed.
    """
    name = found.get("name") if isinstance(found, dict) else found
    if not isinstance(found, dict) or not isinstance(name, str) or name not in KINDS:
        raise ScenarioError(f"there is no scenario {name!r}; known are {', '.join(KINDS)}")
    if extra := set(found) - {"name", "times", "params"}:
        raise ScenarioError(f"unexpected keys {', '.join(sorted(extra))}; allowed are name, times, params")
    kind = KINDS[name]
    times = found.get("times", None if kind.always else 1)
    if times is not None and not (_is_count(times) and times):
        raise ScenarioError(f"'times' is {_shown(times)}; write a number from 1, or null for always")
    params = found.get("params") or {}
    if not isinstance(params, dict):
        raise ScenarioError("'params' must be an object")
    if extra := set(params) - set(kind.params):
        allowed = ", ".join(kind.params) or "none"
        raise ScenarioError(f"{name} has no parameter {', '.join(sorted(extra))}; allowed: {allowed}")
    for param, value in params.items():
        _check_value(param, value, kind.params[param])
    return ActiveScenario(name=name, times=times, params=params)


def _check_value(name: str, value: Any, allowed: Allowed) -> None:
    """Refuse what would happen in another way than its author meant."""
    if isinstance(allowed, tuple):
        if value not in allowed:
            raise ScenarioError(f"{name} is {_shown(value)}; allowed: {', '.join(allowed)}")
        return
    if allowed is list:
        fits = isinstance(value, list) and all(_is_count(each) for each in value)
    elif allowed is float:
        fits = _is_count(value) or (isinstance(value, float) and 0 <= value <= _LARGEST)
    else:
        fits = _is_count(value) if allowed is int else isinstance(value, str) and _is_unicode(value)
    if not fits:
        words = {
            list: "a list of row numbers",
            float: f"a number from 0 to {_LARGEST}",
            int: f"a whole number from 0 to {_LARGEST}",
            str: "a text",
        }
        raise ScenarioError(f"{name} is {_shown(value)}; write {words[allowed]}")


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _LARGEST


def _is_unicode(text: str) -> bool:
    """Tell whether a text is without lone surrogates, which no file and no reply can hold."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _shown(value: Any) -> str:
    return reprlib.repr(value)


def read_scenarios(path: Path) -> list[ActiveScenario]:
    """Read a file with one scenario or a JSON list of them.

    :raises ScenarioError: the file is not that.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ScenarioError(f"{path}: {error}") from error
    return [parse_scenario(scenario) for scenario in (found if isinstance(found, list) else [found])]
