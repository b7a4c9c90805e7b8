"""Try every connection that declarations name, for free: ``vision-batch connections``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from vision_batch.enrichment.declaration import Declaration
from vision_batch.enrichment.reader import declaration_files, load_declaration
from vision_batch.errors import VisionBatchError
from vision_batch.hooks.ai_studio import AIStudioHook
from vision_batch.hooks.destination import destination_server
from vision_batch.hooks.storage import SharedS3Client
from vision_batch.steps.resources import Resources
from vision_batch.store import S3ClientFactory
from vision_batch.store.proof import prove_conditional_writes

#: What can be tried by itself.
KINDS = ("service", "storage", "destination")

#: One thing to try: its kind, its name, and a call that says what it found.
Trial = tuple[str, str, Callable[[], str]]


def run(argv: Sequence[str]) -> int:
    """Print one line for each thing that was tried; return 0 if all is well, else 1."""
    parser = _parser()
    options = parser.parse_args(argv)
    files = declaration_files(options.include)
    if not files:
        parser.error(f"there are no declarations in {options.include / 'enrichments'}")
    # Airflow's own command line says the same: connections are looked for in its database, too.
    os.environ.setdefault("_AIRFLOW_PROCESS_CONTEXT", "server")
    well = True
    done: set[tuple[str, str]] = set()
    for path in files:
        try:
            declaration = load_declaration(path, include_folder=options.include, environ=os.environ)
        except VisionBatchError as error:
            print(error, file=sys.stderr)  # noqa: T201 - a command line prints
            well = False
            continue
        for kind, name, attempt in trials(declaration, make_buckets=options.make_buckets):
            if kind in (options.only or KINDS) and (kind, name) not in done:
                done.add((kind, name))
                well &= _told(f"{kind} {name}", attempt)
    return 0 if well else 1


def trials(declaration: Declaration, *, make_buckets: bool = False) -> Iterator[Trial]:
    """Yield what a declaration needs.

    :param make_buckets: make the buckets that are not there.
    """
    clients = SharedS3Client(declaration.storage_connection)
    resources = Resources(declaration, s3_client=clients, destination_server=destination_server)
    yield "service", declaration.connection, partial(_service, declaration.connection)
    for place in declaration.source.prefixes():
        yield "storage", place, partial(_source, resources, place, clients if make_buckets else None)
    yield "storage", declaration.work_folder, partial(_work, resources, clients if make_buckets else None)
    destination = declaration.destination
    name = f"{destination.type} {destination.connection or destination.path}"
    yield "destination", name, partial(_destination, resources)


def _told(what: str, attempt: Callable[[], str]) -> bool:
    try:
        print(f"good   {what}: {attempt()}")  # noqa: T201
    except Exception as error:  # noqa: BLE001 - one thing must not hide the others, and Airflow's errors have no root
        words = str(error) if isinstance(error, VisionBatchError) else f"{type(error).__name__}: {error}"
        print(f"FAILED {what}: {words}")  # noqa: T201
        return False
    return True


def _service(conn_id: str) -> str:
    good, words = AIStudioHook(conn_id).test_connection()
    if not good:
        raise VisionBatchError(words)
    return words


def _source(resources: Resources, place: str, making: S3ClientFactory | None) -> str:
    _make_bucket(place, making)
    there = next(iter(resources.source_store().list(place)), None)
    return "it can be listed" + ("" if there else ", and nothing is there yet")


def _work(resources: Resources, making: S3ClientFactory | None) -> str:
    _make_bucket(resources.declaration.work_folder, making)
    work = resources.work()
    prove_conditional_writes(work.store, work.folder)
    return "it refuses stale writes"


def _destination(resources: Resources) -> str:
    resources.warehouse().counts(resources.table(), [])
    return "it lets us in"


def _make_bucket(place: str, making: S3ClientFactory | None) -> None:
    scheme, _, rest = place.partition("://")
    if making is None or scheme != "s3":
        return
    client = making()
    # Whoever may make buckets may be refused for one that is there; whether it can be used is tried next.
    with suppress(client.exceptions.BucketAlreadyOwnedByYou, client.exceptions.BucketAlreadyExists):
        client.create_bucket(Bucket=rest.partition("/")[0])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="vision-batch connections",
        description="Try what declarations name: AI Studio, places in storage, destinations. Costs nothing.",
    )
    parser.add_argument("--only", action="append", choices=KINDS, help="try only this; may be given again")
    parser.add_argument("--make-buckets", action="store_true", help="make the buckets that are not there")
    parser.add_argument(
        "--include", type=Path, default=Path("include"), metavar="FOLDER", help="the folder with enrichments/"
    )
    return parser
