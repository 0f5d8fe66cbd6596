"""The lake as Django's storage: what pages hand out. Loading never goes through here, it needs pinned versions."""

from django.core.files.storage import FileSystemStorage
from django.http import FileResponse, HttpResponseBase, HttpResponseRedirect
from storages.backends.s3 import S3Storage

from .bucket import Bucket
from .folder import Folder
from .lake import lake

# How long an address that S3 was asked to sign is good.
SECONDS = 300


def download(key: str) -> HttpResponseBase:
    """Return an object to a browser: from a folder as a stream, from a bucket by an address that S3 serves itself."""
    store, name = lake(), key.rpartition("/")[2].replace('"', "")
    if isinstance(store, Bucket):
        storage = S3Storage(bucket_name=store.bucket, location=store.prefix.rstrip("/"), querystring_expire=SECONDS)
        disposition = f'attachment; filename="{name}"'
        return HttpResponseRedirect(storage.url(key, parameters={"ResponseContentDisposition": disposition}))
    assert isinstance(store, Folder)
    return FileResponse(FileSystemStorage(location=store.root).open(key), as_attachment=True, filename=name)
