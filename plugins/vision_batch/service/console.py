"""Say where a person looks at a job: its page in the service's console."""

from __future__ import annotations

from urllib.parse import quote

#: AI Studio's page of a folder. The vendor's SDK repository links to pages below it; where the page of one job is, no
#: document says, so a connection may name it.
DEFAULT_CONSOLE_URL = "https://aistudio.yandex.ru/platform/folders/{folder_id}"

#: What stands in a console's URL for what is shown.
PLACEHOLDERS = ("{folder_id}", "{job_id}")


def job_page(console_url: str, *, folder_id: str, job_id: str) -> str:
    """Return the address of a job's page. It holds ids only, no credential."""
    values = dict(zip(PLACEHOLDERS, (folder_id, job_id), strict=True))
    for placeholder, value in values.items():
        console_url = console_url.replace(placeholder, quote(value, safe=""))
    return console_url
