"""What must hold in a lake, be it a folder or a bucket."""

import io
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.request import urlopen

import boto3
import pytest
from django.test import Client

from ingest.admission import admit_upload
from ingest.arrivals import announced
from ingest.datasets import save_dataset
from ingest.models import Run, Status
from ingest.sweeper import work_off
from migration_console.lib.bucket import UPLOAD_PART, Bucket
from migration_console.lib.errors import Gone, Refused, refuse
from migration_console.lib.lake import Lake, Version, lake
from tests.conftest import Loads


@pytest.fixture(params=["folder", "bucket"])
def store(request: pytest.FixtureRequest) -> Lake:
    """Return a lake of each kind."""
    found: Lake = request.getfixturevalue(request.param)
    return found


def put(store: Lake, key: str, data: bytes = b"data") -> Any:
    return store.put(key, io.BytesIO(data))


def read(store: Lake, version: Any, start: int = 0) -> bytes:
    with store.open(version, start) as file:
        return file.read()


def test_what_is_put_is_read_from_any_offset(store: Lake) -> None:
    version = put(store, "raw/año 2026+1.csv", b"0123456789")
    assert store.stat("raw/año 2026+1.csv") == version
    assert [read(store, version, start) for start in (0, 4, 10)] == [b"0123456789", b"456789", b""]


def test_an_empty_object_is_read_as_empty_and_a_missing_one_is_gone(store: Lake) -> None:
    version = put(store, "raw/empty.csv", b"")
    assert read(store, version) == b""
    store.delete(version)
    with pytest.raises(Gone), store.open(version):
        pass


def test_listing_names_every_key_below_the_prefix_and_nothing_else(store: Lake) -> None:
    for key in ("raw/b.csv", "raw/a/c.csv", "rawness.csv", "processed/raw/d.csv"):
        put(store, key)
    assert {version.key for version in store.list("raw")} == {"raw/b.csv", "raw/a/c.csv"}


def test_a_copy_holds_the_bytes_of_the_named_version_and_is_made_once(store: Lake) -> None:
    version = put(store, "raw/a.csv", b"first")
    copy = store.copy(version, "processed/1/a.csv")
    assert (copy.key, copy.size) == ("processed/1/a.csv", 5)
    assert store.copy(version, "processed/1/a.csv") == copy
    assert read(store, copy) == b"first"


def test_deleting_a_version_leaves_a_later_one_alone(store: Lake) -> None:
    first = put(store, "raw/a.csv", b"first")
    second = put(store, "raw/a.csv", b"second!")
    store.delete(first)
    assert read(store, second) == b"second!"
    store.delete(second)
    assert list(store.list("raw")) == []
    store.delete(second)  # done already is done


def test_a_pinned_version_is_read_though_it_was_overwritten_and_hidden(bucket: Bucket) -> None:
    first, second = put(bucket, "raw/a.csv", b"first"), put(bucket, "raw/a.csv", b"second")
    bucket.client.delete_object(Bucket=bucket.bucket, Key=f"{bucket.prefix}raw/a.csv")
    assert [read(bucket, version) for version in (first, second)] == [b"first", b"second"]
    assert bucket.versions("raw/a.csv") == (first, second)
    assert list(bucket.list("raw")) == [first, second]


def test_the_versions_of_a_key_are_not_those_of_a_longer_one(bucket: Bucket) -> None:
    version = put(bucket, "raw/a.csv")
    put(bucket, "raw/a.csv.gz")
    assert bucket.versions("raw/a.csv") == (version,)
    assert bucket.versions("raw/a") == ()


def test_large_objects_go_up_and_are_copied_in_parts(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    bucket.client.meta.events.register("before-call.s3", lambda model, **_: calls.append(model.name))
    data = bytes(range(256)) * (UPLOAD_PART // 256) + b"the rest"
    version = put(bucket, "raw/large.csv", data)
    assert (version.size, calls.count("UploadPart")) == (len(data), 2)
    small = Bucket(bucket.bucket, bucket.prefix, max_copy=6 << 20)
    small.client.meta.events.register("before-call.s3", lambda model, **_: calls.append(model.name))
    copy = small.copy(version, "processed/1/large.csv")
    assert calls.count("UploadPartCopy") == 3
    assert read(bucket, copy) == data


def test_a_broken_upload_leaves_nothing_behind(bucket: Bucket) -> None:
    class Breaks(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            if self.tell() >= UPLOAD_PART:
                raise OSError("the line went dead")
            return super().read(size)

    with pytest.raises(OSError, match="line went dead"):
        bucket.put("raw/a.csv", Breaks(b"x" * 2 * UPLOAD_PART))
    assert list(bucket.list("raw")) == []
    assert "Uploads" not in bucket.client.list_multipart_uploads(Bucket=bucket.bucket)


def test_a_download_that_breaks_is_taken_up_where_it_broke(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    data = bytes(1_000_000) + b"end"
    version = put(bucket, "raw/a.csv", data)
    get, starts = bucket._get, list[int]()

    def short(version: Any, start: int) -> Any:
        starts.append(start)
        return io.BytesIO(get(version, start).read(300_000))

    monkeypatch.setattr(bucket, "_get", short)
    assert read(bucket, version) == data
    assert starts == [0, 300_000, 600_000, 900_000]


def test_nothing_is_asked_of_the_server_that_others_lack(bucket: Bucket) -> None:
    headers: set[str] = set()
    bucket.client.meta.events.register("before-send.s3", lambda request, **_: headers.update(map(str, request.headers)))
    store: Lake = bucket
    store.delete(store.copy(put(store, "raw/a.csv"), "processed/1/a.csv"))
    unknown = ("x-amz-tagging", "x-amz-server-side", "x-amz-checksum", "x-amz-trailer", "x-amz-sdk-checksum", "If-")
    assert not [name for name in headers if name.startswith(unknown)]


class StrictAboutVersions(BaseHTTPRequestHandler):
    """S3 with one empty bucket, as it answers where a version id is none that it could have given."""

    protocol_version = "HTTP/1.1"
    deleted: list[str] = []
    body = (
        b"<Error><Code>InvalidArgument</Code><Message>Invalid version id specified</Message>"
        b"<ArgumentName>versionId</ArgumentName><ArgumentValue>odd</ArgumentValue></Error>"
    )

    def do_GET(self) -> None:
        """Tell that the bucket keeps versions, that it has none, or what is wrong with the id."""
        if "versionId=" in self.path:
            self.answer(400, self.body)
        elif "?versioning" in self.path:
            self.answer(200, b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>")
        else:
            self.answer(200, b"<ListVersionsResult></ListVersionsResult>")

    def do_HEAD(self) -> None:
        """Refuse without a word."""
        self.answer(400, b"")

    def do_DELETE(self) -> None:
        """Refuse, and remember it."""
        self.deleted.append(self.path)
        self.answer(400, self.body)

    def answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


@pytest.fixture
def strict(s3_server: str, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    """Return a lake on a server that looks at version ids, which the stand-in does not."""
    with ThreadingHTTPServer(("127.0.0.1", 0), StrictAboutVersions) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{server.server_port}")
        settings.LAKE_URL = f"s3://strict-{server.server_port}"
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        found = lake()
        assert isinstance(found, Bucket)
        yield found
        server.shutdown()


@pytest.mark.parametrize("size", [0, 5])
def test_a_version_that_s3_never_made_is_gone(strict: Bucket, size: int) -> None:
    version = Version("raw/a.csv", "odd", size)
    with pytest.raises(Gone), strict.open(version):
        pass
    strict.delete(version)


def test_a_run_of_a_version_that_s3_never_made_ends_as_gone(tables: None, strict: Bucket) -> None:
    save_dataset({"name": "small", "schema": {"fields": [{"name": "id", "type": "integer"}]}})
    answer = announced(strict.bucket, "raw/small.csv", "odd", rows=True, user=None)
    (run,) = work_off([Run.objects.get(pk=answer["run"])])
    assert (run.status, run.closed_at is not None) == (Status.GONE, True)


def test_an_upload_that_broke_off_is_closed_as_gone(tables: None, strict: Bucket) -> None:
    class Breaks(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            raise refuse("broken-off", "the body ended too early")

    dataset = save_dataset({"name": "small", "schema": {"fields": [{"name": "id", "type": "integer"}]}}).dataset
    with pytest.raises(Refused, match="too early"):
        admit_upload("raw/small.csv", Breaks(), trigger="test", dataset=dataset)
    StrictAboutVersions.deleted.clear()
    (run,) = work_off([Run.objects.get()])
    assert (run.status, run.closed_at is not None) == (Status.GONE, True)
    assert StrictAboutVersions.deleted == [], "it has no version yet that could be deleted"


def test_an_unversioned_bucket_is_refused_with_the_command_that_mends_it(bucket: Bucket, settings: Any) -> None:
    boto3.client("s3").put_bucket_versioning(Bucket=bucket.bucket, VersioningConfiguration={"Status": "Suspended"})
    settings.LAKE_URL = f"s3://{bucket.bucket}/elsewhere"
    with pytest.raises(Refused, match=f"put-bucket-versioning --bucket {bucket.bucket} --versioning-configuration"):
        lake()


def test_keys_of_events_are_those_below_the_prefix(bucket: Bucket) -> None:
    assert bucket.key_of(bucket.bucket, "some/where/raw/a.csv") == "raw/a.csv"
    assert bucket.key_of(bucket.bucket, "raw/a.csv") is None
    assert bucket.key_of("another", "some/where/raw/a.csv") is None


@pytest.mark.parametrize("kind", ["folder", "bucket"])
def test_a_steward_downloads_the_file_and_the_report_of_a_run(
    kind: str, request: pytest.FixtureRequest, load: Loads, admin_client: Client, client: Client
) -> None:
    request.getfixturevalue(kind)
    data = b"id\n1\nx\n"
    run = load({"name": "small", "schema": {"fields": [{"name": "id", "type": "integer"}]}}, data)
    address = f"/admin/ingest/run/{run.pk}/download"
    assert f"{address}/file/" in admin_client.get(f"/admin/ingest/run/{run.pk}/change/").content.decode()
    assert [fetched(admin_client.get(f"{address}/file/")), client.get(f"{address}/file/").status_code] == [data, 302]
    assert b'"not-an-integer"' in fetched(admin_client.get(f"{address}/report/"))
    assert admin_client.get(f"{address}/other/").status_code == 404


def fetched(answer: Any) -> bytes:
    if answer.status_code == 302:
        with urlopen(answer.headers["Location"]) as file:
            assert file.headers["Content-Disposition"].startswith("attachment")
            return bytes(file.read())
    assert answer.headers["Content-Disposition"].startswith("attachment")
    return bytes(answer.getvalue())
