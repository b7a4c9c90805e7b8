"""Find the ways to what a declaration names, for a command that a person runs."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from vision_batch.enrichment.declaration import Declaration
from vision_batch.steps.resources import Resources
from vision_batch.store import client_of_environment
from vision_batch.warehouse.server import given_server

#: What a way leads to.
STORAGE, DESTINATION, QUERY, MODEL = "storage", "destination", "query", "window and unit price"


@dataclass(frozen=True)
class Ways:
    """Hold the ways, and say which they are.

    :param told: in words, by what they lead to; only of what the declaration needs.
    """

    resources: Resources
    told: Mapping[str, str]

    def tell(self, command: str, *leading_to: str) -> None:
        """Say on standard error which ways a command uses, as what it finds may rest on that."""
        for what in leading_to:
            if what in self.told:
                print(f"vision-batch {command}: {what} from {self.told[what]}", file=sys.stderr)  # noqa: T201


#: Gives the ways to what a declaration names. The text is the destination's address, if a person gave one.
FindWays = Callable[[Declaration, str | None], Ways]


def environment_ways(declaration: Declaration, dsn: str | None = None) -> Ways:
    """Return what the environment tells: ``AWS_*`` and ``VISION_BATCH_DSN``."""
    server = given_server(dsn or os.environ.get("VISION_BATCH_DSN"))
    told = {MODEL: "the table of models, which has no price"}
    if declaration.is_on_s3():
        told[STORAGE] = "the environment (AWS_*)"
    if declaration.destination.connection is not None:
        told[DESTINATION] = "the given address" if dsn else "VISION_BATCH_DSN"
    return Ways(Resources(declaration, None, client_of_environment, server), told)
