"""Answer the calls of DatasetService that are about bringing a file."""

from __future__ import annotations

import asyncio
import secrets
from collections import defaultdict
from collections.abc import Mapping

import grpc
from google.protobuf.message import Message
from yandex.cloud.ai.dataset.v1 import dataset_service_pb2 as api

from vision_batch.emulator.quotas import check_bytes
from vision_batch.emulator.records import Dataset, Multipart
from vision_batch.emulator.rpc import Call, RefusalError
from vision_batch.emulator.studio import Studio
from vision_batch.emulator.uploads import drop_parts, join_parts, parts_bytes

#: Buckets in the recorded URLs.
DRAFTS, DATASETS = "ai-fomo-drafts-prod", "ai-fomo-datasets-prod"

_LARGEST_PART, _MOST_PARTS = 5 * 1024**3, 10_000
_USUAL_PART = 100 * 1024**2


class UploadCalls:
    """Give URLs for uploads and join what came in parts."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self._joining: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    def get_upload_draft_url(self, request: api.GetUploadDraftUrlRequest, _: Call) -> Message:
        """Give the URL for a file in one piece; its length is signed."""
        dataset = self._draft(request.dataset_id, request.size_bytes)
        self._reserve(dataset, request.size_bytes, None)
        url = self._url("PUT", self.draft_path(dataset), content_length=request.size_bytes)
        return api.GetUploadDraftUrlResponse(dataset_id=dataset.dataset_id, upload_url=url)

    def start_multipart_upload_draft(self, request: api.StartMultipartUploadDraftRequest, _: Call) -> Message:
        """Give a URL for each part; an earlier upload in parts is forgotten."""
        dataset = self._draft(request.dataset_id, request.size_bytes)
        parts = request.parts or -(-request.size_bytes // _USUAL_PART)
        size = -(-request.size_bytes // parts) if parts > 0 else 0
        least = self._studio.settings.quotas["least_part_bytes"]
        if not 1 <= parts <= _MOST_PARTS or size > _LARGEST_PART or (parts > 1 and size < least):
            raise RefusalError(
                grpc.StatusCode.INVALID_ARGUMENT,
                f"{parts} parts: each must have {least / 10**6:g} MB to 5 GB, 10000 at most",
            )
        multipart = Multipart(upload_id=secrets.token_hex(16), size_bytes=request.size_bytes, parts=parts)
        self._reserve(dataset, request.size_bytes, multipart)
        expired = self._expired("upload")
        urls = [
            self._sign(
                "PUT", self.draft_path(dataset), expired, query={"partNumber": str(n), "uploadId": multipart.upload_id}
            )
            for n in range(1, parts + 1)
        ]
        return api.StartMultipartUploadDraftResponse(dataset_id=dataset.dataset_id, multipart_upload_urls=urls)

    async def finish_multipart_upload_draft(self, request: api.FinishMultipartUploadDraftRequest, _: Call) -> Message:
        """Join the parts; ETags count with and without their quotes. To say so again changes nothing."""
        # A caller that gives up does not end what has begun, and the next one finds it done.
        return await asyncio.shield(self._finish(request))

    async def _finish(self, request: api.FinishMultipartUploadDraftRequest) -> Message:
        named = {part.part_num: part.etag.strip('"').lower() for part in request.uploaded_parts}
        done = api.FinishMultipartUploadDraftResponse(dataset_id=request.dataset_id)
        async with self._joining[request.dataset_id]:
            dataset = self._studio.dataset(request.dataset_id)
            if dataset.multipart is None and dataset.joined == named:
                return done
            multipart = self._checked_parts(dataset, named, len(request.uploaded_parts))
            folder = self._studio.folder.dataset_folder(dataset.dataset_id)
            size = parts_bytes(folder, named)
            if size != multipart.size_bytes:
                raise RefusalError(
                    grpc.StatusCode.INVALID_ARGUMENT,
                    f"the parts have {size} bytes together, announced were {multipart.size_bytes}",
                )
            try:
                await asyncio.to_thread(join_parts, folder, sorted(named))
            except FileNotFoundError:
                self._studio.dataset(request.dataset_id)  # deleted meanwhile: said so
                raise
            dataset = self._studio.dataset(request.dataset_id)
            if dataset.multipart is None or dataset.multipart.upload_id != multipart.upload_id:
                raise RefusalError(grpc.StatusCode.FAILED_PRECONDITION, "another upload was begun meanwhile")
            joined = {"uploaded_bytes": size, "multipart": None, "joined": named}
            self._studio.save(dataset.model_copy(update=joined))
            drop_parts(folder)
        return done

    def _reserve(self, dataset: Dataset, size: int, multipart: Multipart | None) -> None:
        begun = {"reserved_bytes": size, "multipart": multipart, "joined": None}
        self._studio.save(dataset.model_copy(update=begun))

    def _checked_parts(self, dataset: Dataset, named: Mapping[int, str], count: int) -> Multipart:
        multipart = dataset.multipart
        if multipart is None or dataset.validation is not None:
            raise RefusalError(grpc.StatusCode.FAILED_PRECONDITION, "there is no upload in parts to finish")
        numbers = list(range(1, multipart.parts + 1))
        if sorted(named) != numbers or count != len(numbers):
            raise RefusalError(
                grpc.StatusCode.INVALID_ARGUMENT, f"uploaded_parts must name parts 1 to {multipart.parts} once"
            )
        if wrong := [number for number in numbers if multipart.etags.get(number) != named[number]]:
            raise RefusalError(grpc.StatusCode.INVALID_ARGUMENT, f"parts with another ETag, or not there: {wrong[:20]}")
        return multipart

    def draft_path(self, dataset: Dataset) -> str:
        """Return the path of a dataset's upload."""
        return f"/{DRAFTS}/{dataset.folder_id}/{dataset.dataset_id}"

    def _object(self, dataset: Dataset, key: str) -> str:
        return dataset.dataset_id if key == "main" else f"{dataset.dataset_id}/{key}"

    def _draft(self, dataset_id: str, size: int) -> Dataset:
        dataset = self._studio.dataset(dataset_id)
        if dataset.validation is not None or dataset.result_of:
            raise RefusalError(grpc.StatusCode.FAILED_PRECONDITION, f"Dataset {dataset_id!r} takes no upload any more")
        if size <= 0:
            raise RefusalError(grpc.StatusCode.INVALID_ARGUMENT, "size_bytes must be greater than 0")
        check_bytes(self._studio, dataset, size)
        return dataset

    def _expired(self, on: str) -> dict[str, object] | None:
        return self._studio.scenarios.take("expired_url", lambda params: params.get("on", on) == on)

    def _url(self, method: str, path: str, *, content_length: int | None = None) -> str:
        expired = self._expired("upload" if method == "PUT" else "download")
        full = path if method == "PUT" else f"/{DATASETS}{path}"
        return self._sign(method, full, expired, content_length=content_length)

    def _sign(
        self,
        method: str,
        path: str,
        expired: Mapping[str, object] | None,
        *,
        content_length: int | None = None,
        query: Mapping[str, str] | None = None,
    ) -> str:
        signed = self._studio.signer.path_and_query(
            method, path, self._studio.now(), content_length=content_length, query=query
        )
        if expired is not None:
            self._studio.limit_url(signed, int(str(expired.get("after", 0))))
        return self._studio.http_url + signed
