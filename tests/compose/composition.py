"""Read docker-compose.yml, Dockerfile and .env as Docker would: variables filled in, image and service put together."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

_VARIABLE = re.compile(r"\$(?:(?P<escaped>\$)|\{(?P<name>\w+)(?:(?P<how>:?[-?])(?P<word>[^}]*))?\})")
_SETTING = re.compile(r"^(\w+)=(.*)$", re.MULTILINE)
OWN_IMAGE = "vision-batch"


class NotSetError(Exception):
    """Say which variable has no value."""


def read_settings(path: Path) -> dict[str, str]:
    return dict(_SETTING.findall(path.read_text()))


def variables(text: str) -> dict[str, set[str]]:
    """Give the names of the variables of a text, and how each is used: ``:?``, ``:-``."""
    found: dict[str, set[str]] = {}
    for match in _VARIABLE.finditer(text):
        if match["name"]:
            found.setdefault(match["name"], set()).add(match["how"] or "")
    return found


def filled(value: Any, environ: Mapping[str, str]) -> Any:
    """Put values in the place of variables, everywhere in a document."""
    if isinstance(value, dict):
        return {name: filled(each, environ) for name, each in value.items()}
    if isinstance(value, list):
        return [filled(each, environ) for each in value]
    if not isinstance(value, str):
        return value

    def replacement(match: re.Match[str]) -> str:
        if match["escaped"]:
            return "$"
        found, how = environ.get(match["name"]), match["how"] or ""
        if found is not None and (found or not how.startswith(":")):
            return found
        if how.endswith("?"):
            raise NotSetError(f"{match['name']}: {match['word']}")
        return match["word"] or ""

    return _VARIABLE.sub(replacement, value)


@dataclass(frozen=True)
class Service:
    """Be one service of the file, with what its image adds."""

    name: str
    image: str
    command: tuple[str, ...]
    environ: Mapping[str, str]
    health: tuple[str, ...]
    volumes: tuple[str, ...]
    hostname: str
    profiles: tuple[str, ...]

    @property
    def is_ours(self) -> bool:
        return self.image.startswith(f"{OWN_IMAGE}:")


def image_environ(dockerfile: str) -> dict[str, str]:
    """Give the ENV settings of the last stage of a Dockerfile."""
    last = dockerfile.rpartition("\nFROM ")[2].replace("\\\n", " ")
    words = [word for line in re.findall(r"^ENV (.*)$", last, re.MULTILINE) for word in shlex.split(line)]
    return dict(word.split("=", 1) for word in words)


def read_services(project: Path, environ: Mapping[str, str]) -> dict[str, Service]:
    """Give the services by name."""
    document = filled(yaml.safe_load((project / "docker-compose.yml").read_text()), environ)
    ours = image_environ((project / "Dockerfile").read_text())
    return {name: _service(name, found, ours) for name, found in document["services"].items()}


def _service(name: str, found: Mapping[str, Any], image_settings: Mapping[str, str]) -> Service:
    ours = found["image"].startswith(f"{OWN_IMAGE}:")
    settings = {key: str(value) for key, value in found.get("environment", {}).items()}
    return Service(
        name=name,
        image=found["image"],
        command=_words(found.get("command", ())),
        environ={**(image_settings if ours else {}), **settings},
        health=_health(found.get("healthcheck", {}).get("test", ())),
        volumes=tuple(found.get("volumes", ())),
        hostname=found.get("hostname", name),
        profiles=tuple(found.get("profiles", ())),
    )


def _words(command: str | list[str]) -> tuple[str, ...]:
    return tuple(shlex.split(command) if isinstance(command, str) else map(str, command))


def _health(test: list[str]) -> tuple[str, ...]:
    if not test:
        return ()
    kind, *words = test
    return ("sh", "-c", *words) if kind == "CMD-SHELL" else tuple(words)
