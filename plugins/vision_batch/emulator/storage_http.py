"""Serve presigned uploads and downloads the way Object Storage does: S3 headers, S3 errors."""

from __future__ import annotations

import re
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from xml.sax.saxutils import escape

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from vision_batch.emulator.clock import http_date
from vision_batch.emulator.presign import BadUrlError
from vision_batch.emulator.records import Dataset, StoredFile
from vision_batch.emulator.studio import Studio
from vision_batch.emulator.upload_calls import DATASETS, DRAFTS
from vision_batch.emulator.uploads import WrongLengthError, part_path, receive
from vision_batch.emulator.validation import UPLOAD

_STATUS = {
    "AccessDenied": 403,
    "IncompleteBody": 400,
    "InternalError": 500,
    "InvalidRange": 416,
    "NoSuchKey": 404,
    "NoSuchUpload": 404,
    "SignatureDoesNotMatch": 403,
}
_BLOCK = 256 * 1024
_DRAFT_LIFE_SECONDS = 31 * 86_400
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


class S3Error(Exception):
    """Refuse a transfer with an S3 error code."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class CutError(Exception):
    """Break a connection in the middle of a body, as a scenario asked."""


class StorageHttp:
    """Take and give the bytes of datasets."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio

    def routes(self) -> list[Route]:
        """Return the routes of both buckets."""
        return [
            Route(f"/{DRAFTS}/{{folder}}/{{dataset_id}}", self.put, methods=["PUT"]),
            Route(f"/{DATASETS}/{{folder}}/{{dataset_id}}", self.get, methods=["GET"]),
            Route(f"/{DATASETS}/{{folder}}/{{dataset_id}}/{{key:path}}", self.get, methods=["GET"]),
        ]

    async def put(self, request: Request) -> Response:
        """Take an upload or one part of it."""
        try:
            return await self._put(request)
        except S3Error as error:
            return self._refused(request, error)

    async def get(self, request: Request) -> Response:
        """Give a file or a range of it."""
        try:
            return self._get(request)
        except S3Error as error:
            return self._refused(request, error)

    async def _put(self, request: Request) -> Response:
        length = request.headers.get("content-length", "")
        announced = int(length) if length.isdigit() else None
        parameters = self._checked(request, announced)
        if announced is None:
            raise S3Error("SignatureDoesNotMatch", "The request has no Content-Length")
        dataset = self._dataset(request)
        self._check_wanted(dataset, parameters, announced)
        folder = self._studio.folder.dataset_folder(dataset.dataset_id)
        number = int(parameters.get("partNumber", 0))
        self._break_part(number)
        target = part_path(folder, number) if number else folder / UPLOAD

        def check() -> None:
            self._check_wanted(self._dataset(request), parameters, announced)

        try:
            etag = await receive(request.stream(), target, announced, check=check)
        except (WrongLengthError, ClientDisconnect) as error:
            raise S3Error("IncompleteBody", "The body is shorter than Content-Length") from error
        except FileNotFoundError as error:
            raise S3Error("NoSuchKey", "The dataset was deleted meanwhile") from error
        await self._hang_if_asked(dataset.dataset_id)
        self._note_upload(dataset.dataset_id, number, etag, announced)
        expiry = http_date((self._studio.now() + _DRAFT_LIFE_SECONDS) // 86_400 * 86_400)
        shown = (
            {"X-Amz-Expiration": f'expiry-date="{expiry}", rule-id="DatasetDraftLifecycleRule"'} if not number else {}
        )
        return Response(headers={"ETag": f'"{etag}"', **self._usual(), **shown}, media_type="application/octet-stream")

    async def _hang_if_asked(self, dataset_id: str) -> None:
        multipart = self._studio.datasets[dataset_id].multipart
        stored = len(multipart.etags) if multipart is not None else 0
        scenarios = self._studio.scenarios
        if scenarios.take("upload_hangs", lambda params: params.get("stored", 0) == stored) is not None:
            await scenarios.until_cleared("upload_hangs")

    def _note_upload(self, dataset_id: str, number: int, etag: str, size: int) -> None:
        # Parts come side by side: each adds to what the dataset has become meanwhile.
        dataset = self._studio.datasets[dataset_id].model_copy(deep=True)
        if dataset.deleted:
            raise S3Error("NoSuchKey", "The specified key does not exist.")
        if number:
            if dataset.multipart is None:
                raise S3Error("NoSuchUpload", "The specified upload does not exist.")
            dataset.multipart.etags[number] = etag
        else:
            dataset.uploaded_bytes = size
        self._studio.save(dataset)

    def _check_wanted(self, dataset: Dataset, parameters: dict[str, str], size: int) -> None:
        """Refuse what a later call has made needless."""
        if dataset.validation is not None:
            raise S3Error("AccessDenied", "The dataset takes no upload any more")
        if "partNumber" not in parameters:
            if size != dataset.reserved_bytes:
                raise S3Error("AccessDenied", "Another upload was asked for since")
        elif dataset.multipart is None or parameters.get("uploadId") != dataset.multipart.upload_id:
            raise S3Error("NoSuchUpload", "The specified upload does not exist.")

    def _break_part(self, number: int) -> None:
        scenarios = self._studio.scenarios
        if number and scenarios.take("part_http_500", lambda params: params.get("part", number) == number) is not None:
            raise S3Error("InternalError", "We encountered an internal error. Please try again.")

    def _get(self, request: Request) -> Response:
        self._checked(request, None)
        dataset = self._dataset(request)
        key = request.path_params.get("key", "main")
        file = next((file for file in dataset.files if file.key == key), None)
        if file is None or self._studio.dataset_view(dataset).status != "READY":
            raise S3Error("NoSuchKey", "The specified key does not exist.")
        name = key if key.endswith(".parquet") else f"{key}.parquet"
        path = self._studio.folder.dataset_folder(dataset.dataset_id) / name
        span = self._span(request, file)
        start, end = span or (0, file.size_bytes)
        headers = {
            "Accept-Ranges": "bytes",
            "Content-Length": str(end - start),
            "ETag": f'"{file.etag}"',
            "Last-Modified": http_date(self._studio.dataset_view(dataset).updated_at),
            **self._usual(),
        }
        if span is not None:
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{file.size_bytes}"
        cut = self._studio.scenarios.take("download_cut")
        body = _body(path, start, end, None if cut is None else int(cut.get("bytes", (end - start) // 2)))
        return StreamingResponse(body, 200 if span is None else 206, headers, media_type="application/octet-stream")

    def _span(self, request: Request, file: StoredFile) -> tuple[int, int] | None:
        """Return which bytes are asked for: from, and up to but without; ``None`` for the whole file."""
        asked, size = request.headers.get("range"), file.size_bytes
        matched = _RANGE.fullmatch(asked) if asked else None
        if matched is None or request.headers.get("if-range", f'"{file.etag}"') != f'"{file.etag}"':
            return None
        first, last = matched.groups()
        if not first and not last:
            return None
        start = int(first) if first else max(0, size - int(last))
        end = min(size, int(last) + 1) if first and last else size
        if start >= end:
            raise S3Error("InvalidRange", f"The requested range is not satisfiable: the object has {size} bytes")
        return start, end

    def _checked(self, request: Request, length: int | None) -> dict[str, str]:
        try:
            parameters = self._studio.signer.check(
                request.method, request.url.path, request.url.query, self._studio.now(), content_length=length
            )
        except BadUrlError as error:
            raise S3Error(error.code, str(error)) from error
        if not self._studio.use_url(parameters["X-Amz-Signature"]):
            raise S3Error("AccessDenied", "Request has expired")
        return parameters

    def _dataset(self, request: Request) -> Dataset:
        dataset = self._studio.datasets.get(request.path_params["dataset_id"])
        if dataset is None or dataset.deleted:
            raise S3Error("NoSuchKey", "The specified key does not exist.")
        return dataset

    def _usual(self) -> dict[str, str]:
        return {"Server": "emulator", "Date": http_date(self._studio.now()), "X-Amz-Request-Id": secrets.token_hex(8)}

    def _refused(self, request: Request, error: S3Error) -> Response:
        self._studio.log.append(
            {"at": self._studio.now(), "call": f"HTTP {request.method}", "code": error.code, "message": error.message}
        )
        usual = self._usual()
        text = (
            '<?xml version="1.0" encoding="UTF-8"?>\n'
            f"<Error><Code>{error.code}</Code><Message>{escape(error.message)}</Message>"
            f"<Resource>{escape(request.url.path)}</Resource><RequestId>{usual['X-Amz-Request-Id']}</RequestId></Error>"
        )
        # What is left of a refused body is not read, so the connection cannot be used again.
        closing = {"Connection": "close"} if request.method == "PUT" else {}
        return Response(text, _STATUS[error.code], {**usual, **closing}, media_type="application/xml")


async def _body(path: Path, start: int, end: int, cut_after: int | None) -> AsyncIterator[bytes]:
    left = end - start if cut_after is None else min(cut_after, end - start)
    with path.open("rb") as stream:
        stream.seek(start)
        while left > 0 and (block := stream.read(min(_BLOCK, left))):
            left -= len(block)
            yield block
    if cut_after is not None:
        raise CutError("the download is cut as asked")
