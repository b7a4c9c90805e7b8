"""Put a question together: the prompt, what is asked of the answer, and its identity."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from vision_batch.enrichment.answer import AnswerSchema, schema_prompt
from vision_batch.enrichment.identity import question_key

_PLACEHOLDER = re.compile(r"\{([a-z][a-z0-9_]*)\}")


def placeholders(prompt: str) -> frozenset[str]:
    """Return the names of a prompt's placeholders, written ``{name}``. Other braces are plain text."""
    return frozenset(_PLACEHOLDER.findall(prompt))


def is_placeholder(name: str) -> bool:
    """Say whether ``{name}`` would be a placeholder of a prompt."""
    return _PLACEHOLDER.fullmatch(f"{{{name}}}") is not None


@dataclass(frozen=True)
class Question:
    """Hold what is asked.

    :param model: ``<model>/<branch>``.
    """

    prompt: str
    schema: AnswerSchema
    language: str
    model: str
    options: Mapping[str, Any]
    preprocessing: int
    revision: int

    @cached_property
    def key(self) -> str:
        """Return the question's identity; the text that asks for the schema is part of the prompt."""
        return question_key(
            prompt=f"{self.prompt.strip()}{self._asked_of_the_answer}",
            schema=self.schema.model_dump(mode="json", exclude_defaults=True),  # a later version's new keys change none
            model=self.model,
            options=self.options,
            preprocessing=self.preprocessing,
            revision=self.revision,
        )

    def render(self, variables: Mapping[str, str], last_line: str | None) -> str:
        """Return the text of one request. Values are put in as they are: data is never read as a template."""
        text = _PLACEHOLDER.sub(lambda match: variables.get(match[1], match[0]), self.prompt.strip())
        text += self._asked_of_the_answer
        return text if last_line is None else f"{text}\n\n{last_line}"

    @cached_property
    def _asked_of_the_answer(self) -> str:
        return f"\n\n{schema_prompt(self.schema, self.language)}"
