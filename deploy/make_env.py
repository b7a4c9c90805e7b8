"""Make .env out of .env.example: every secret that is empty there is generated. Standard library only.

A second time it keeps what .env holds and adds what it lacks, such as after an upgrade.
"""

import base64
import os
import re
import secrets
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

_SETTING = re.compile(r"^(?P<name>[A-Z][A-Z0-9_]*)=(?P<value>.*)$", re.MULTILINE)


def _password() -> str:
    return secrets.token_hex(24)  # hexadecimal: it stands in URLs and JSON as it is


#: How each secret is made.
SECRETS: Mapping[str, Callable[[], str]] = {
    "AI_STUDIO_API_KEY": _password,
    "S3_SECRET_ACCESS_KEY": _password,
    "ADMIN_PASSWORD": _password,
    "POSTGRES_PASSWORD": _password,
    "AIRFLOW_DATABASE_PASSWORD": _password,
    "WAREHOUSE_PASSWORD": _password,
    "REDIS_PASSWORD": _password,
    "AIRFLOW_FERNET_KEY": lambda: base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
    "AIRFLOW_JWT_SECRET": lambda: secrets.token_hex(64),
    "AIRFLOW_SECRET_KEY": lambda: secrets.token_hex(32),
}


def settings(text: str) -> dict[str, str]:
    """Return the settings of a file by name."""
    return {found["name"]: found["value"] for found in _SETTING.finditer(text)}


def filled(example: str, known: Mapping[str, str]) -> str:
    """Return the example with what is known, and with new secrets where nothing is."""

    def line(found: re.Match[str]) -> str:
        name, value = found["name"], found["value"]
        value = known.get(name, value)  # also an empty one: it may mean something
        return f"{name}={value or SECRETS.get(name, str)()}"

    text = _SETTING.sub(line, example)
    own = [f"{name}={value}" for name, value in known.items() if name not in settings(example)]
    return "\n".join([text.rstrip("\n"), *(["", "# Not in .env.example:", *own] if own else []), ""])


def main(folder: Path) -> None:
    """Write .env so that only its owner can read it."""
    path = folder / ".env"
    known = settings(path.read_text(encoding="utf-8")) if path.exists() else {}
    text = filled((folder / ".env.example").read_text(encoding="utf-8"), known)
    new = path.with_name(".env.new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    new.replace(path)
    made = [name for name in SECRETS if not known.get(name)]
    print(f"{path.name}: {len(made)} secrets made, {len(known)} settings kept. The user interface's password is in it.")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "."))
