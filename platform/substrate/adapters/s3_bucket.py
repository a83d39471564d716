"""A bucket of an S3-compatible store, as those who keep something in it reach it."""

import boto3
from botocore.config import Config


class S3Bucket:
    """The client, the bucket's name, and the prefix of what its owner keeps in it."""

    def __init__(
        self,
        *,
        endpoint: str | None,
        bucket: str,
        region: str,
        access_key: str,
        secret_key: str,
        prefix: str = "",
        read_timeout_s: float = 30,
    ) -> None:
        """`endpoint` None means the cloud's own. Every call has 5 s to connect, `read_timeout_s` to answer, three tries."""
        self.client = boto3.client(
            "s3",
            endpoint_url=endpoint,
            region_name=region,
            aws_access_key_id=access_key,
            aws_secret_access_key=secret_key,
            config=Config(
                connect_timeout=5,
                read_timeout=read_timeout_s,
                retries={"max_attempts": 3, "mode": "standard"},
                s3={"addressing_style": "path" if endpoint else "auto"},
            ),
        )
        self.name = bucket
        self.prefix = prefix
