"""A lake in a versioned S3 bucket, or on a server that speaks S3. The only module that knows boto3.

Nothing is asked of the server that S3-compatible ones lack: no tags, no encryption settings, no
conditional requests, no checksum trailers.
"""

import io
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import groupby
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import urlsplit

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    IncompleteReadError,
    ReadTimeoutError,
    ResponseStreamingError,
)

from .errors import Denied, Gone, Unavailable, refuse
from .lake import Version

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client
    from types_boto3_s3.type_defs import CompletedPartTypeDef, CopySourceTypeDef

log = logging.getLogger(__name__)
CONFIG = Config(
    retries={"mode": "standard", "max_attempts": 5},
    connect_timeout=5,
    read_timeout=60,
    max_pool_connections=32,
    # The default since 2025, checksum trailers, is unknown to many S3-compatible servers.
    request_checksum_calculation="when_required",
    response_checksum_validation="when_required",
)
# What one request may copy; above, a multipart copy.
MAX_COPY = 5 * 1024**3
UPLOAD_PART = 16 << 20
# How often in a row a broken download is taken up where it broke.
MAX_RESUMES = 5
NOT_THERE = {"NoSuchKey", "NoSuchVersion", "404", "405", "MethodNotAllowed"}
# Of the answers that say no, these say so for now: a time-out, a conflict of two requests, too many of them.
PASSING = {408, 409, 429}
BROKEN = (IncompleteReadError, ReadTimeoutError, ResponseStreamingError)


def split_url(url: str) -> tuple[str, str]:
    """Return bucket and prefix of s3://bucket[/prefix]; the prefix is '' or ends in a slash."""
    parts = urlsplit(url)
    prefix = parts.path.strip("/")
    return parts.netloc, f"{prefix}/" if prefix else ""


class Bucket:
    """A lake in a bucket, below a prefix that its keys do not show."""

    def __init__(self, bucket: str, prefix: str = "", max_copy: int = MAX_COPY) -> None:
        self.bucket, self.prefix, self.max_copy = bucket, prefix, max_copy
        self.client: S3Client = boto3.session.Session().client("s3", config=CONFIG)
        self.transfer = TransferConfig(multipart_threshold=max_copy, multipart_chunksize=min(max_copy, 512 << 20))
        self._refuse_unversioned()

    def _refuse_unversioned(self) -> None:
        with _answers(self.bucket):
            status = self.client.get_bucket_versioning(Bucket=self.bucket).get("Status", "Disabled")
        if status != "Enabled":
            message = (
                f"the bucket {self.bucket} keeps no versions ({status}), so a file that is overwritten while it is read"
                f" would be lost. Turn versioning on: aws s3api put-bucket-versioning --bucket {self.bucket}"
                " --versioning-configuration Status=Enabled"
            )
            raise refuse("unversioned-bucket", message, "LAKE_URL")

    def key_of(self, bucket: str, name: str) -> str | None:
        """Return the key in this lake of an object that an event names; None for an object elsewhere."""
        mine = bucket == self.bucket and name.startswith(self.prefix)
        return name.removeprefix(self.prefix) if mine else None

    def stat(self, key: str) -> Version:
        """Return the present version of an object."""
        with _answers(key):
            found = self.client.head_object(Bucket=self.bucket, Key=self.prefix + key)
        return Version(key, found["VersionId"], found["ContentLength"])

    def list(self, prefix: str) -> Iterator[Version]:
        """Yield the versions under a prefix, those of one key oldest first; folder markers are no files."""
        yield from self._versions(f"{prefix}/")

    def versions(self, key: str) -> Sequence[Version]:
        """Return the versions of one key, oldest first."""
        return tuple(self._versions(key, only=key))

    def _versions(self, prefix: str, only: str | None = None) -> Iterator[Version]:
        for key, versions in groupby(self._newest_first(self.prefix + prefix), lambda version: version.key):
            # Keys are listed in order: the one that is the prefix itself comes first.
            if only is not None and key != only:
                return
            if not key.endswith("/"):
                yield from reversed(tuple(versions))

    def _newest_first(self, prefix: str) -> Iterator[Version]:
        # A delete marker hides versions and deletes none: pinned ones are read and moved all the same.
        pages = self.client.get_paginator("list_object_versions").paginate(Bucket=self.bucket, Prefix=prefix)
        with _answers(prefix):
            for page in pages:
                for found in page.get("Versions", []):
                    yield Version(found["Key"].removeprefix(self.prefix), found["VersionId"], found["Size"])

    @contextmanager
    def open(self, version: Version, start: int = 0) -> Iterator[BinaryIO]:
        """Stream the very bytes of a version, from an offset."""
        if start >= version.size:
            self._see(version)
        with io.BufferedReader(_Download(self._get, version, start), 1 << 20) as file:
            yield file

    def _see(self, version: Version) -> None:
        # GET, not HEAD, whose refusal has no body to say why.
        with _answers(version.key):
            found = self.client.get_object(Bucket=self.bucket, Key=self.prefix + version.key, VersionId=version.id)
        found["Body"].close()

    def _get(self, version: Version, start: int) -> BinaryIO:
        with _answers(version.key):
            found = self.client.get_object(
                Bucket=self.bucket, Key=self.prefix + version.key, VersionId=version.id, Range=f"bytes={start}-"
            )
        return found["Body"]  # type: ignore[return-value]  # read(size) is all that is asked of it

    def check(self, version: Version, file: BinaryIO) -> None:
        """Do nothing: a version in a bucket never changes."""

    def put(self, key: str, source: BinaryIO) -> Version:
        """Write an object, in parts where it is large; it appears whole when all parts are there."""
        first = _part(source)
        with _answers(key):
            if len(first) < UPLOAD_PART:
                done = self.client.put_object(Bucket=self.bucket, Key=self.prefix + key, Body=first)
                return Version(key, done["VersionId"], len(first))
            return self._put_parts(key, first, source)

    def _put_parts(self, key: str, data: bytes, source: BinaryIO) -> Version:
        # By hand: the library's own upload does not tell which version it has made.
        bucket, name, client = self.bucket, self.prefix + key, self.client
        upload = client.create_multipart_upload(Bucket=bucket, Key=name)["UploadId"]
        parts: list[CompletedPartTypeDef] = []
        size = 0
        try:
            while data:
                number, size = len(parts) + 1, size + len(data)
                part = client.upload_part(Bucket=bucket, Key=name, UploadId=upload, PartNumber=number, Body=data)
                parts.append({"PartNumber": number, "ETag": part["ETag"]})
                data = _part(source)
            done = client.complete_multipart_upload(
                Bucket=bucket, Key=name, UploadId=upload, MultipartUpload={"Parts": parts}
            )
        except BaseException:
            client.abort_multipart_upload(Bucket=bucket, Key=name, UploadId=upload)
            raise
        return Version(key, done["VersionId"], size)

    def copy(self, version: Version, key: str) -> Version:
        """Put the very bytes of a version under another key too, inside S3; done already is done."""
        try:
            found = self.stat(key)
            if found.size == version.size:
                return found
        except Gone:
            pass
        source: CopySourceTypeDef = {
            "Bucket": self.bucket, "Key": self.prefix + version.key, "VersionId": version.id,
        }  # fmt: skip
        with _answers(version.key):
            if version.size <= self.max_copy:
                done = self.client.copy_object(Bucket=self.bucket, Key=self.prefix + key, CopySource=source)
                return Version(key, done["VersionId"], version.size)
            self.client.copy(source, self.bucket, self.prefix + key, Config=self.transfer)
        return self.stat(key)

    def delete(self, version: Version) -> None:
        """Delete this very version; done already is done."""
        with suppress(Gone), _answers(version.key):
            self.client.delete_object(Bucket=self.bucket, Key=self.prefix + version.key, VersionId=version.id)

    def discard(self, prefix: str) -> None:
        """Abort the uploads under a prefix that were never completed: nobody sees them, and they cost as objects do."""
        pages = self.client.get_paginator("list_multipart_uploads")
        with _answers(prefix):
            for page in pages.paginate(Bucket=self.bucket, Prefix=f"{self.prefix}{prefix}/"):
                for found in page.get("Uploads", []):
                    self.client.abort_multipart_upload(Bucket=self.bucket, Key=found["Key"], UploadId=found["UploadId"])


def _part(source: BinaryIO) -> bytes:
    """Return the next part, full unless it is the last: S3 refuses small ones in the middle."""
    data = bytearray()
    while len(data) < UPLOAD_PART and (more := source.read(UPLOAD_PART - len(data))):
        data += more
    return bytes(data)


class _Download(io.RawIOBase):
    """The bytes of a version; a connection that breaks is taken up again where it broke."""

    def __init__(self, get: Callable[[Version, int], BinaryIO], version: Version, start: int) -> None:
        self.get, self.version, self.position = get, version, start
        # Asked for now, so that what is gone is found when it is opened.
        self.body: BinaryIO | None = get(version, start) if start < version.size else None

    def readable(self) -> bool:
        """Tell that this can be read."""
        return True

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        """Fill a buffer with what comes next; 0 at the end."""
        if self.position >= self.version.size:
            return 0
        data = self._read(len(buffer))
        buffer[: len(data)] = data
        self.position += len(data)
        return len(data)

    def _read(self, size: int) -> bytes:
        for resumes in range(MAX_RESUMES + 1):
            try:
                self.body = self.body or self.get(self.version, self.position)
                if data := self.body.read(size):
                    return data
                problem: Exception | str = "it ended early"
            except BROKEN as error:
                problem = error
            log.warning("%s broke at byte %d (%d): %s", self.version.key, self.position, resumes, problem)
            self._drop()
        raise Unavailable(f"{self.version.key} cannot be read at byte {self.position}")

    def _drop(self) -> None:
        if self.body is not None:
            self.body.close()
        self.body = None

    def close(self) -> None:
        """Let go of the connection."""
        self._drop()
        super().close()


@contextmanager
def _answers(what: str) -> Iterator[None]:
    """Turn boto's errors into ours: Gone for what is not there, Unavailable for the rest."""
    try:
        yield
    except ClientError as error:
        if _is_not_there(error):
            raise Gone(f"{what} is not there") from None
        raise (Denied if _is_denied(error) else Unavailable)(f"S3 refused {what}: {error}") from error
    except BotoCoreError as error:
        raise Unavailable(f"S3 did not answer for {what}: {error}") from error


def _is_denied(error: ClientError) -> bool:
    """Tell whether the same request will be refused again: a missing right, a bucket that is gone."""
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    return 400 <= status < 500 and status not in PASSING and error.response["Error"].get("Code") != "RequestTimeout"


def _is_not_there(error: ClientError) -> bool:
    said = error.response.get("Error", {})
    # An id that S3 gave to no version is a wrong argument to it; of wrong arguments there are others.
    no_version = said.get("Code") == "InvalidArgument" and said.get("Message", "").startswith("Invalid version id")
    return no_version or said.get("Code") in NOT_THERE
