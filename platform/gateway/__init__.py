"""The gateway: the data plane's doors, `/v1` (OpenAI-compatible HTTP) and `/ws/chat`.

Every token of every user passes here, so nothing of it goes through Django's request machinery: plain ASGI, msgspec
and orjson, and no database on the way of a plain model call. It knows the wire (bodies, headers, errors, frames,
clients that leave or read slowly) and hands every question of substance to the apps below.
"""
