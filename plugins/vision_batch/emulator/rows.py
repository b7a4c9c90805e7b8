"""Read rows of a JSON Lines upload and say what is wrong with them.

Forms, from the service's page on datasets: a message has ``text`` (text types) or ``content`` (VL types, a list of text
and image parts); rows of the types without ``Request`` also have ``response``. A ``response`` in a row of a request
type is let through and dropped. Whether the service takes other keys is not known: here they are faults.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any

TEXT_REQUEST = "TextToTextGenerationRequest"
TEXT_ANSWER = "TextToTextGeneration"
VL_REQUEST = "ImageTextToTextGenerationRequest"
VL_ANSWER = "ImageTextToTextGeneration"

#: Task type of a source dataset to that of its job's result.
RESULT_TYPES = {TEXT_REQUEST: TEXT_ANSWER, VL_REQUEST: VL_ANSWER}
TASK_TYPES = (TEXT_ANSWER, TEXT_REQUEST, VL_ANSWER, VL_REQUEST)
ROLES = ("system", "user", "assistant")

Message = dict[str, Any]

#: What may be half of a character beyond 16 bits.
_HALF_PAIR = re.compile(rb"\\u[dD][89a-fA-F]")


class RowError(Exception):
    """Say what is wrong with a row.

    :param kind: a stable name of the mistake; rows are grouped by it.
    """

    def __init__(self, kind: str, description: str) -> None:
        super().__init__(description)
        self.kind = kind
        self.description = description


@dataclass(frozen=True)
class Row:
    """Hold one row as it was checked: only known keys, in the order of the schema."""

    request: list[Message]
    response: str | None = None

    def texts(self) -> list[str]:
        """Give every text of the request in order."""
        found = []
        for message in self.request:
            if "text" in message:
                found.append(str(message["text"]))
            found.extend(str(part["text"]) for part in message.get("content", ()) if part["type"] == "text")
        return found

    def images(self) -> list[bytes]:
        """Give every image of the request, decoded from Base64."""
        parts = [part for message in self.request for part in message.get("content", ()) if part["type"] == "image"]
        return [base64.b64decode(part["image"]) for part in parts]

    def sha256(self) -> str:
        """Return the hash of the request: compact JSON, keys sorted, nothing escaped, no nulls."""
        text = json.dumps(self.request, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


def parse_row(line: bytes, task_type: str) -> Row:
    """Check one line.

    :raises RowError: the line is not a row of this type.
    """
    row = _json_object(line)
    _only_keys(row, {"request", "response"}, "the row")
    messages = row.get("request")
    if not isinstance(messages, list) or not messages:
        raise RowError("InvalidRequest", "'request' must be a list with at least one message")
    check = _vl_message if task_type in {VL_REQUEST, VL_ANSWER} else _text_message
    request = [check(message) for message in messages]
    response = row.get("response")
    if response is not None and not isinstance(response, str):
        raise RowError("InvalidResponse", "'response' must be a string")
    if task_type in RESULT_TYPES:
        return Row(request)
    if response is None:
        raise RowError("MissingResponse", f"rows of {task_type} need 'response'")
    return Row(request, response)


def _json_object(line: bytes) -> dict[str, Any]:
    try:
        row = json.loads(line.decode("utf-8"), parse_constant=_refuse_constant)
        if _HALF_PAIR.search(line):
            json.dumps(row, ensure_ascii=False).encode()
    except UnicodeError as error:
        raise RowError("InvalidEncoding", "the line is not UTF-8, or escapes half of a surrogate pair") from error
    except (ValueError, RecursionError) as error:
        raise RowError("InvalidJson", "the line is not one JSON object") from error
    if not isinstance(row, dict):
        raise RowError("InvalidJson", "the line is not one JSON object")
    return row


def _refuse_constant(word: str) -> None:
    raise ValueError(word)


def _only_keys(found: dict[str, Any], allowed: set[str], what: str) -> None:
    if extra := sorted(set(found) - allowed):
        raise RowError("UnexpectedField", f"{what} has unexpected keys: {', '.join(extra)[:200]}")


def _role(message: Any) -> str:
    if not isinstance(message, dict) or message.get("role") not in ROLES:
        raise RowError("InvalidRole", f"a message needs 'role', one of {', '.join(ROLES)}")
    return str(message["role"])


def _text_message(message: Any) -> Message:
    role = _role(message)
    _only_keys(message, {"role", "text"}, "a message")
    if not isinstance(message.get("text"), str):
        raise RowError("InvalidText", "a message needs 'text', a string")
    return {"role": role, "text": message["text"]}


def _vl_message(message: Any) -> Message:
    role = _role(message)
    _only_keys(message, {"role", "content"}, "a message")
    content = message.get("content")
    if not isinstance(content, list) or not content:
        raise RowError("InvalidContent", "a message needs 'content', a list of text and image parts")
    return {"role": role, "content": [_part(part) for part in content]}


def _part(part: Any) -> dict[str, str]:
    kind = part.get("type") if isinstance(part, dict) else None
    if kind not in ("text", "image"):
        raise RowError("InvalidContent", "a part needs 'type', text or image")
    _only_keys(
        {key: value for key, value in part.items() if value is not None}, {"type", kind}, f"a part of type {kind}"
    )
    value = part.get(kind)
    if not isinstance(value, str):
        raise RowError("InvalidContent", f"a part of type {kind} needs {kind!r}, a string")
    if kind == "image":
        _check_base64(value)
    return {"type": kind, kind: value}


def _check_base64(text: str) -> None:
    try:
        found = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise RowError("InvalidImage", "'image' is not Base64 (standard alphabet, padded, no line breaks)") from error
    if not found:
        raise RowError("InvalidImage", "'image' is empty")
