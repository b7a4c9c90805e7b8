"""Object storage as the project needs it, on ``file://`` and ``s3://``."""

from vision_batch.store.opening import DeclaredPlaces, open_store
from vision_batch.store.protocol import ObjectInfo, ReadableStore, S3ClientFactory, Store
from vision_batch.store.s3 import client_of_environment

__all__ = [
    "DeclaredPlaces",
    "ObjectInfo",
    "ReadableStore",
    "S3ClientFactory",
    "Store",
    "client_of_environment",
    "open_store",
]
