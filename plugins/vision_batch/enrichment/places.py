"""Declare where the images are: below a prefix, in a manifest, or in the answer to a query."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator

from vision_batch.enrichment.query import stands_in
from vision_batch.enrichment.question import is_placeholder

#: Formats are recognised by content; these endings only say which objects of a source are meant as images.
IMAGE_EXTENSIONS = (
    ".jpg", ".jpeg", ".jpe", ".png", ".webp", ".avif", ".tif", ".tiff", ".gif", ".bmp", ".heic", ".heif",
)  # fmt: skip

ManifestFormat = Literal["csv", "jsonl", "parquet"]

#: The format that the ending of a manifest's name stands for.
MANIFEST_ENDINGS: dict[str, ManifestFormat] = {
    ".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet",
}  # fmt: skip

#: The keys of which a source has one.
KINDS = ("uri", "manifest", "query")

_ONE_DAY_EACH_MONTH = [datetime(2026, 11, 1), datetime(2026, 12, 1), datetime(2025, 12, 1)]  # noqa: DTZ001

_QUERY = "SELECT uri FROM photos WHERE day = {partition}"

#: Where a partition's key stands in a place, or a part of its beginning as ``strftime`` writes it.
PARTITION = re.compile(r"\{partition(?::(?P<format>[^{}]+))?\}")


class Part(BaseModel):
    """Be one part of a declaration: a key that is not known is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def storage_uri(found: str) -> str:
    """Return a place in storage as it is.

    :raises ValueError: if it is none.
    """
    if not re.match(r"(file:///|s3://[^/]+/)", found):
        raise ValueError(
            f"{found!r} is not a place; allowed are file:///folder/, s3://bucket/folder/ or a relative path"
        )
    return found


def _refuse_anywhere(uri: str, example: str) -> None:
    """Refuse a placeholder that leaves open which bucket, or which folder of the machine, may be read."""
    scheme, _, path = uri.partition("://")
    if path.partition("{")[0].rpartition("/")[0].strip("/"):
        return
    if scheme == "s3":
        where, so = "the bucket's name", "images of other buckets could be read too"
    else:
        where, so = "the root folder", "every file of the machine could be read"
        example = example.replace("s3://bucket/", "file:///folder/")
    raise ValueError(f"{uri!r} has its placeholder in {where}, so that {so}; write it like {example}")


def filled(pattern: str, partition: str, read: Callable[[str], datetime]) -> str:
    """Return the place of a partition.

    :param read: gives the beginning of the partition, where the pattern has parts of it.
    """

    def written(placeholder: re.Match[str]) -> str:
        part = placeholder["format"]
        return partition if part is None else read(partition).strftime(part)

    return PARTITION.sub(written, pattern)


def _only_for(kind: str, found: object) -> None:
    if found:
        raise ValueError(f"it belongs to {kind}, and this source has none; take it out")


def _by_name(found: Any) -> Any:
    """Accept a list of names, where each variable has the name of its column."""
    if not isinstance(found, list) or not all(isinstance(name, str) for name in found):
        return found
    if len(set(found)) != len(found):
        raise ValueError(f"{found} holds one name twice")
    return {name: name for name in found}


Variables = Annotated[
    dict[str, Annotated[str, Field(min_length=1)]],
    BeforeValidator(_by_name, json_schema_input_type=list[str] | dict[str, str]),
]


class Source(Part):
    """Say where the images are: ``uri``, ``manifest`` or ``query``, one of the three.

    :param partition_format: how a partition key is written, as in ``strftime``.
    :param uri: ``file://`` or ``s3://`` prefix of one partition, with ``{partition}`` in it, or with parts of its
        day such as ``{partition:%Y}``.
    :param manifest: file that lists a partition's images, with ``{partition}`` in it too.
    :param format: of the manifest; default by the ending of its name.
    :param query: SQL that gives a partition's images; ``{partition}`` in it is bound as a parameter.
    :param query_connection: the Airflow connection that answers the query.
    :param query_file: the DuckDB file that answers the query.
    :param connection: the Airflow connection of ``s3://`` places.
    :param extensions: which objects below a prefix are images, by their ending, whatever its case.
    :param uri_column: of the manifest or the query: the image's URI.
    :param key_column: the item's key; default its URI.
    :param variables: prompt variables, each with its column.
    :param allowed_prefixes: where the images of a manifest or a query may lie; default the manifest's own folder.
    """

    model_config = ConfigDict(json_schema_extra={"oneOf": [{"required": [kind]} for kind in KINDS]})

    partition_format: str = "%Y-%m-%d"
    uri: str | None = None
    manifest: str | None = None
    query: str | None = Field(None, validate_default=True)
    format: ManifestFormat | None = Field(None, validate_default=True)
    query_connection: str | None = Field(None, validate_default=True)
    query_file: str | None = Field(None, validate_default=True)
    connection: str | None = None
    extensions: tuple[str, ...] = IMAGE_EXTENSIONS
    uri_column: str = Field("uri", min_length=1)
    key_column: str | None = Field(None, min_length=1)
    variables: Variables = Field({})
    allowed_prefixes: tuple[str, ...] = Field((), validate_default=True)

    @field_validator("partition_format")
    @classmethod
    def _tells_partitions_apart(cls, key_format: str) -> str:
        keys = [day.strftime(key_format) for day in _ONE_DAY_EACH_MONTH]
        try:
            read = [datetime.strptime(key, key_format) for key in keys]  # noqa: DTZ007
        except ValueError:
            read = []
        if read != _ONE_DAY_EACH_MONTH:
            raise ValueError(f"{key_format!r} does not tell one day from another; write it like '%Y-%m-%d'")
        return key_format

    @field_validator("uri", "manifest")
    @classmethod
    def _is_partitioned(cls, uri: str | None, info: ValidationInfo) -> str | None:
        if uri is None:
            return None
        example = "s3://bucket/photos/{partition}/" if info.field_name == "uri" else "s3://bucket/lists/{partition}.csv"
        found = set(re.findall(r"\{[^{}]*\}", uri))
        if not found or not all(map(PARTITION.fullmatch, found)):
            has = f"has {', '.join(sorted(found))}" if found else "has no {partition}"
            raise ValueError(f"{uri!r} {has}; write it like {example}")
        _refuse_anywhere(storage_uri(uri), example)
        return uri

    @field_validator("query")
    @classmethod
    def _one_of_three(cls, query: str | None, info: ValidationInfo) -> str | None:
        given = [name for name in KINDS if (info.data | {"query": query}).get(name, "wrong") is not None]
        if len(given) != 1:
            raise ValueError(f"found {' and '.join(given) or 'none'} of uri, manifest and query; give one of the three")
        if query is None:
            return None
        if "{partition}" not in query:
            raise ValueError(f"the query has no {{partition}}; write it like {_QUERY}")
        stands = set(stands_in(query))
        if "quotes" in stands:
            raise ValueError("{partition} stands in quotes; take them off, because it is bound as a parameter")
        if stands == {"comment"}:
            raise ValueError(f"{{partition}} stands in a comment only; write it like {_QUERY}")
        return query

    @field_validator("format")
    @classmethod
    def _is_known(cls, found: ManifestFormat | None, info: ValidationInfo) -> ManifestFormat | None:
        manifest = info.data.get("manifest")
        if manifest is None:
            _only_for("a manifest", found)
            return None
        if found is None and not manifest.lower().endswith(tuple(MANIFEST_ENDINGS)):
            raise ValueError(
                f"{manifest!r} has no ending that tells its format: write csv, jsonl or parquet here, "
                f"or end its name with {', '.join(MANIFEST_ENDINGS)}"
            )
        return found

    @field_validator("query_connection", "query_file")
    @classmethod
    def _answers_a_query(cls, found: str | None, info: ValidationInfo) -> str | None:
        if "query" not in info.data:
            return found
        if info.data["query"] is None:
            _only_for("a query", found)
            return None
        if info.field_name == "query_file" and found is not None and info.data.get("query_connection") is not None:
            raise ValueError("query_connection answers the query already; take one of the two out")
        if info.field_name == "query_file" and found is None and info.data.get("query_connection", "") is None:
            raise ValueError("a query needs query_connection, an Airflow connection, or query_file, a DuckDB file")
        return found

    @field_validator("extensions")
    @classmethod
    def _are_endings(cls, extensions: tuple[str, ...]) -> tuple[str, ...]:
        if not extensions or not all(re.fullmatch(r"\.[^/\s]+", ending) for ending in extensions):
            raise ValueError(f"{list(extensions)} are not endings of names; write them like [.jpg, .png]")
        return extensions

    @field_validator("key_column", "variables", "allowed_prefixes")
    @classmethod
    def _has_rows(cls, found: Any, info: ValidationInfo) -> Any:
        if info.data.get("uri") is not None:
            _only_for("a manifest or a query", found)
        return found

    @field_validator("variables")
    @classmethod
    def _are_placeholders(cls, variables: dict[str, str]) -> dict[str, str]:
        for name in variables:
            if not is_placeholder(name):
                raise ValueError(
                    f"{name!r} is not a variable; allowed: lower-case letters, digits and _, a letter first"
                )
        return variables

    @field_validator("allowed_prefixes")
    @classmethod
    def _are_folders(cls, prefixes: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        if not prefixes and info.data.get("query") is not None:
            raise ValueError("a query needs it: say where its images may lie, such as [s3://bucket/photos/]")
        for prefix in map(storage_uri, prefixes):
            if not prefix.endswith("/"):
                raise ValueError(f"{prefix!r} is not a folder; write it with a / at its end")
        if len({prefix.partition("://")[0] for prefix in prefixes}) > 1:
            raise ValueError("some are on file:// and some on s3://; the images of one source lie on one of the two")
        return prefixes

    def prefix(self, partition: str) -> str:
        """Return the prefix of one partition's objects, or its manifest's URI."""
        return filled(self.uri or self.manifest or "", partition, self._begin)

    def _begin(self, partition: str) -> datetime:
        return datetime.strptime(partition, self.partition_format)  # noqa: DTZ007 - no timezone

    def prefixes(self) -> tuple[str, ...]:
        """Return where every image of every partition lies: not below these is not in the source."""
        if self.uri is not None:
            return (self.uri.partition("{")[0],)
        if self.manifest is not None and not self.allowed_prefixes:
            return (self.manifest.partition("{")[0].rpartition("/")[0] + "/",)
        return self.allowed_prefixes

    def manifest_format(self) -> ManifestFormat:
        """Return the format of the manifest."""
        name = (self.manifest or "").lower()
        by_ending = (kind for ending, kind in MANIFEST_ENDINGS.items() if name.endswith(ending))
        return next(by_ending) if self.format is None else self.format

    def __str__(self) -> str:
        """Return a few words for people."""
        return self.uri or self.manifest or f"a query, below {', '.join(self.allowed_prefixes)}"
