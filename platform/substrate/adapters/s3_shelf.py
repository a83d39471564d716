"""A shelf in an S3-compatible store: big files go up and come down in parts."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from boto3.exceptions import Boto3Error
from botocore.exceptions import BotoCoreError, ClientError

from kernel.errors import NotFound, Unavailable
from substrate.adapters.s3_bucket import S3Bucket
from substrate.ports import ShelvedFile

T = TypeVar("T")
PIECE = 1024 * 1024
_GONE = frozenset({"NoSuchKey", "404", "NoSuchBucket"})


class S3Shelf:
    """One object per name below a prefix of one bucket, which is made at the first write when it is missing."""

    def __init__(self, **options: Any) -> None:
        """The options of `S3Bucket`."""
        bucket = S3Bucket(read_timeout_s=60, **options)
        self._client, self._bucket, self._prefix = bucket.client, bucket.name, bucket.prefix

    def files(self) -> list[ShelvedFile]:
        """All files, by name. Raises Unavailable."""
        try:
            return self._call(self._list)
        except NotFound:
            return []

    def put(self, name: str, path: Path) -> None:
        """Keep the content of `path` under `name`, whole or not at all; `path` is removed. Raises Unavailable."""
        try:
            self._call(lambda: self._client.head_bucket(Bucket=self._bucket))
        except NotFound:
            self._call(lambda: self._client.create_bucket(Bucket=self._bucket))
        self._call(lambda: self._client.upload_file(str(path), self._bucket, self._key(name)))
        path.unlink(missing_ok=True)

    def read(self, name: str, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        """`length` bytes from `start`, piece by piece. Raises NotFound, Unavailable."""
        end = "" if length is None else str(start + length - 1)
        answer = self._call(
            lambda: self._client.get_object(
                Bucket=self._bucket, Key=self._key(name), Range=f"bytes={start}-{end}"
            )
        )
        body = answer["Body"]
        while piece := self._call(lambda: body.read(PIECE)):
            yield piece

    def fetch(self, name: str, folder: Path) -> Path:
        """A copy in `folder`. Raises NotFound, Unavailable."""
        path = folder / self._plain(name)
        self._call(lambda: self._client.download_file(self._bucket, self._key(name), str(path)))
        return path

    def delete(self, name: str) -> None:
        """Remove `name`; nothing happens when there is none. Raises Unavailable."""
        self._call(lambda: self._client.delete_object(Bucket=self._bucket, Key=self._key(name)))

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _list(self) -> list[ShelvedFile]:
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=self._prefix
        )
        found = [entry for page in pages for entry in page.get("Contents", [])]
        return [
            ShelvedFile(entry["Key"].removeprefix(self._prefix), entry["Size"], entry["LastModified"])
            for entry in found
            if "/" not in entry["Key"].removeprefix(self._prefix)
        ]

    def _plain(self, name: str) -> str:
        if "/" in name or name.startswith(".") or not name:
            raise NotFound("There is no such backup.")
        return name

    def _key(self, name: str) -> str:
        return f"{self._prefix}{self._plain(name)}"

    def _call(self, call: Callable[[], T]) -> T:
        try:
            return call()
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") in _GONE:
                raise NotFound("There is no such backup.") from error
            raise Unavailable("The store of the backups refused the request.") from error
        except (BotoCoreError, Boto3Error) as error:
            raise Unavailable("The store of the backups is not reachable.") from error
        except OSError as error:
            raise Unavailable(f"A file cannot be written: {error.strerror or error}.") from error
