"""Prove that a store refuses stale writes: the fence before every paid call rests on it."""

from __future__ import annotations

import secrets

from vision_batch.errors import ConnectionInputError, ObjectExistsError, StaleWriteError
from vision_batch.store.protocol import Store


def prove_conditional_writes(store: Store, folder: str) -> None:
    """Try a create and a swap that must be refused, on an object that is deleted afterwards.

    :param folder: the work folder; the object lies below it.
    :raises ConnectionInputError: if the store does what it should have refused, or refuses what it should have done.
    """
    uri = f"{folder.rstrip('/')}/probe-{secrets.token_hex(8)}.json"
    store.create(uri, b"1")
    try:
        _must_refuse_a_second_create(store, uri)
        _must_refuse_a_stale_swap(store, uri)
    finally:
        store.delete(uri)


def _must_refuse_a_second_create(store: Store, uri: str) -> None:
    try:
        store.create(uri, b"2")
    except ObjectExistsError:
        return
    raise _unfit(uri, "it ignores If-None-Match: it created an object that was there")


def _must_refuse_a_stale_swap(store: Store, uri: str) -> None:
    body, first = store.read_versioned(uri)
    try:
        second = store.swap(uri, body + b"2", version=first)
    except StaleWriteError:
        raise _unfit(uri, "it refuses If-Match with the version that it gave itself") from None
    try:
        store.swap(uri, body + b"3", version=first)
    except StaleWriteError:
        pass
    else:
        raise _unfit(uri, "it ignores If-Match: it replaced an object that had changed")
    if store.read_versioned(uri) != (body + b"2", second):
        raise _unfit(uri, "what was written is not what is read afterwards")


def _unfit(uri: str, what: str) -> ConnectionInputError:
    return ConnectionInputError(
        f"{uri.rpartition('/')[0]} cannot be a work folder: its storage does not keep two workers apart, "
        f"because {what}. Nothing was paid. Amazon S3, Yandex Object Storage and MinIO can; see docs/deploy.md."
    )
