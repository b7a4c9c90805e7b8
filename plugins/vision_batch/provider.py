"""Describe the package to Airflow: the connection type ``ai_studio`` and its form."""

from __future__ import annotations

from typing import Any


def get_provider_info() -> dict[str, Any]:
    """Return what the entry point ``apache_airflow_provider`` promises."""
    return {
        "package-name": "vision-batch",
        "name": "Vision Batch",
        "description": "Batch vision-language jobs on Yandex AI Studio.",
        "connection-types": [
            {
                "connection-type": "ai_studio",
                "hook-class-name": "vision_batch.hooks.ai_studio.AIStudioHook",
                "hook-name": "Yandex AI Studio",
                "ui-field-behaviour": {
                    "hidden-fields": ["login", "port", "schema"],
                    "relabeling": {"host": "Endpoint override", "password": "API key"},
                    "placeholders": {
                        "host": "api.cloud.yandex.net:443 (leave empty for the real service)",
                        "password": "API key of a service account with the role ai.editor",
                    },
                },
                "conn-fields": {
                    "folder_id": _text("Folder id", "The cloud folder that pays, such as b1g..."),
                    "service_account_key": {
                        "label": "Service-account key (JSON)",
                        "description": "An authorized key, used where no API key is given.",
                        "schema": {"type": ["string", "null"], "format": "password"},
                    },
                    "tls": {
                        "label": "TLS",
                        "description": "Off only for an emulator on this machine.",
                        "schema": {"type": ["boolean", "null"], "default": True},
                    },
                    "window_tokens": _text(
                        "Windows", 'Tokens by model where not 4096, such as {"qwen2.5-vl-7b-instruct": 16384}.'
                    ),
                    "quotas": _text("Quotas", 'Quotas that were raised on request, such as {"jobs_per_hour": 20}.'),
                    "unit_price": _text("Unit price", "Price of 1000 tokens at coefficient 1, for cost estimates."),
                    "console_url": _text(
                        "Console", "Page of a job, with {folder_id} and {job_id}; empty leads to the folder's page."
                    ),
                },
            }
        ],
    }


def _text(label: str, description: str) -> dict[str, Any]:
    return {"label": label, "description": description, "schema": {"type": ["string", "null"]}}
