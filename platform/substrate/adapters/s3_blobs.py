"""Blobs in an S3-compatible store."""

import asyncio
import tempfile
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, TypeVar

from botocore.exceptions import BotoCoreError, ClientError

from kernel.errors import NotFound, Unavailable
from substrate.adapters.s3_bucket import S3Bucket

T = TypeVar("T")
# Content beyond this size waits on disk rather than in memory until it is sent.
MEMORY_BYTES = 8 * 1024 * 1024
PIECE = 1024 * 1024


class S3BlobStore:
    """One object per blob in one bucket. The bucket is made at first use when it is missing."""

    def __init__(self, **options: Any) -> None:
        """The options of `S3Bucket`."""
        bucket = S3Bucket(**options)
        self._client, self._bucket, self._prefix = bucket.client, bucket.name, bucket.prefix
        self._ready = False

    async def put(self, key: str, content: AsyncIterator[bytes]) -> int:
        """Store `content` under `key`, whole or not at all; returns its size in bytes. Raises Unavailable."""
        await self._ensure_bucket()
        with tempfile.SpooledTemporaryFile(max_size=MEMORY_BYTES) as file:
            async for piece in content:
                await asyncio.to_thread(file.write, piece)
            size = file.tell()
            file.seek(0)
            await self._call(
                lambda: self._client.put_object(Bucket=self._bucket, Key=self._key(key), Body=file)
            )
        return size

    async def read(self, key: str) -> bytes:
        """The content of `key`. Raises NotFound, Unavailable."""
        return await self._call(
            lambda: self._client.get_object(Bucket=self._bucket, Key=self._key(key))["Body"].read()
        )

    async def stream(self, key: str) -> AsyncIterator[bytes]:
        """The content of `key`, piece by piece. Raises NotFound, Unavailable."""
        body = await self._call(
            lambda: self._client.get_object(Bucket=self._bucket, Key=self._key(key))["Body"]
        )
        try:
            while piece := await self._call(lambda: body.read(PIECE)):
                yield piece
        finally:
            body.close()

    async def keys(self, tenant_id: uuid.UUID) -> AsyncIterator[str]:
        """The keys of all blobs of the tenant. Raises Unavailable."""
        await self._ensure_bucket()
        for key in await self._call(lambda: list(self._keys_below(self._key(f"{tenant_id}/")))):
            yield key.removeprefix(self._prefix)

    async def delete(self, key: str) -> None:
        """Remove `key`; nothing happens when there is none. Raises Unavailable."""
        await self._call(lambda: self._client.delete_object(Bucket=self._bucket, Key=self._key(key)))

    async def delete_tenant(self, tenant_id: uuid.UUID) -> int:
        """Remove every blob of the tenant; returns how many. Raises Unavailable."""
        return await self._call(lambda: self._delete_prefix(self._key(f"{tenant_id}/")))

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _key(self, key: str) -> str:
        return f"{self._prefix}{key}"

    def _delete_prefix(self, prefix: str) -> int:
        count = 0
        for key in self._keys_below(prefix):
            self._client.delete_object(Bucket=self._bucket, Key=key)
            count += 1
        return count

    def _keys_below(self, prefix: str) -> Iterator[str]:
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=prefix)
        for page in pages:
            yield from [entry["Key"] for entry in page.get("Contents", [])]

    async def _ensure_bucket(self) -> None:
        if self._ready:
            return
        try:
            await asyncio.to_thread(self._client.head_bucket, Bucket=self._bucket)
        except ClientError:
            await self._call(lambda: self._client.create_bucket(Bucket=self._bucket))
        except BotoCoreError as error:
            raise Unavailable("The file store is not reachable.") from error
        self._ready = True

    async def _call(self, call: Callable[[], T]) -> T:
        try:
            return await asyncio.to_thread(call)
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") in {"NoSuchKey", "404"}:
                raise NotFound("The stored file is gone.") from error
            raise Unavailable("The file store refused the request.") from error
        except BotoCoreError as error:
            raise Unavailable("The file store is not reachable.") from error
