"""`/ws/chat`: a socket asks, stops and follows messages. Answers are Runs: a socket only reads their log.

Closing a socket ends no message. A client that does not read is closed, so that it costs nobody anything. Close codes:
4401 not signed in, 4403 not allowed, 1009 a frame too long, 1013 try later.
"""

import asyncio
import time
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import orjson
import structlog
from channels.generic.websocket import AsyncWebsocketConsumer
from django.conf import settings

from assistants import services as assistants
from assistants.services import Trial
from assistants.types import MessageRole, RunEvent, StartedRun, Turn
from gateway.frames import (
    FRAME_BYTES,
    FRAME_PERMISSIONS,
    ClientFrame,
    MessageCreate,
    MessageStop,
    Ping,
    Resume,
    drafted,
    read_frame,
    request_id_of,
)
from gateway.sockets import Credential, ForeignOrigin, chosen_subprotocol, credential_of, offered_trace
from kernel.context import RequestContext, address_of, ensure_request, request_context
from kernel.errors import (
    AtriumError,
    BadInput,
    Internal,
    NotFound,
    NotSignedIn,
    PermissionDenied,
    RateLimited,
    Unavailable,
)
from kernel.hops import Trail, current_trail, meters, on_trail
from kernel.ids import accept_request_id, new_request_id, new_trace_id, parse_uuid
from kernel.streams import Supervisor
from substrate.wording import in_language, language_of
from tenants.services import (
    authenticate_key,
    authenticate_session,
    refuse_key_in_address,
    require,
    until_refused,
)
from tenants.types import Principal

log = structlog.get_logger(__name__)

NOT_SIGNED_IN = 4401
NOT_ALLOWED = 4403
TOO_LONG = 1009
TRY_LATER = 1013


@dataclass(frozen=True, slots=True)
class SocketLimits:
    """Bounds of one socket. `frames_per_s` is refilled evenly up to `frame_burst`; times are seconds."""

    followed: int = 8
    send_s: float = 10.0
    frames_per_s: float = 20.0
    frame_burst: float = 60.0
    recheck_key_s: float = 1.0
    recheck_session_s: float = 10.0


@dataclass(frozen=True, slots=True)
class SocketDoors:
    """The services behind a socket; tests give fakes."""

    authenticate_key: Callable[[str], Awaitable[Principal]] = authenticate_key
    authenticate_session: Callable[[str, str | None], Awaitable[Principal]] = authenticate_session
    refuse_key_in_address: Callable[[bytes], Awaitable[None]] = refuse_key_in_address
    until_refused: Callable[..., Awaitable[AtriumError]] = until_refused
    start_run: Callable[..., Awaitable[StartedRun]] = assistants.start_run
    follow_run: Callable[..., AsyncGenerator[RunEvent, None]] = assistants.follow_run
    stop_run: Callable[..., Awaitable[None]] = assistants.stop_run
    start_trial: Callable[..., Trial] = assistants.start_trial


class ChatConsumer(AsyncWebsocketConsumer):
    """One socket."""

    def __init__(self, *, doors: SocketDoors | None = None, limits: SocketLimits | None = None) -> None:
        """One per connection; `doors` and `limits` come through `as_asgi`."""
        super().__init__()
        self._doors = doors or SocketDoors()
        self._limits = limits or SocketLimits()
        self._credential = Credential()
        self._principal: Principal | None = None
        self._checked_at = 0.0
        self._closed = False
        self._tokens = self._limits.frame_burst
        self._refilled_at = time.monotonic()
        self._followers: dict[uuid.UUID, asyncio.Task[None]] = {}
        self._trials: dict[uuid.UUID, Trial] = {}
        self._tasks = Supervisor(limit=self._limits.followed + 2, on_error=_report)
        self._counted = False
        # What the handshake offered: every message of the socket goes on with it.
        self._trace_id = self._parent = ""
        self._language = ""

    async def connect(self) -> None:
        """Accept who is signed in; refuse pages of other sites; tell the others by an error and the close code why."""
        self._trace_id, self._parent = offered_trace(self.scope)
        with request_context(self._context()):
            await self._open()

    def _context(self) -> RequestContext:
        return RequestContext(new_request_id(), self._trace_id or new_trace_id(), address_of(self.scope))

    async def _open(self) -> None:
        try:
            await self._doors.refuse_key_in_address(self.scope.get("query_string", b""))
            self._credential = credential_of(
                self.scope,
                cookie_name=settings.SESSION_COOKIE_NAME,
                allowed_origins=settings.ATRIUM.allowed_origins,
            )
        except ForeignOrigin:
            log.warning("socket_refused", reason="origin")
            await self.close()
            return
        except (NotSignedIn, Unavailable) as error:
            await self.accept(chosen_subprotocol(self.scope))
            await self._end(NOT_SIGNED_IN if isinstance(error, NotSignedIn) else TRY_LATER)
            return
        self._language = language_of(self.scope["headers"])
        # Accepted first: a browser sees a close code only of a socket that stood.
        await self.accept(chosen_subprotocol(self.scope))
        self._counted = True
        meters().level("websockets", 1)
        if await self._check_caller() and self._principal is not None:
            self._tasks.start("guard", self._see_out(self._principal))
            log.info(
                "socket_opened", tenant_id=str(self._principal.tenant_id), key=self._principal.api_key_prefix
            )

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Act on one frame. Nothing that a frame says ends the socket, but being too long."""
        raw = text_data if text_data is not None else bytes_data or b""
        if self._closed:
            return
        if len(raw) > FRAME_BYTES or (
            isinstance(raw, str) and len(raw.encode("utf-8", "replace")) > FRAME_BYTES
        ):
            await self._end(TOO_LONG)
            return
        with request_context(self._context()):
            try:
                self._spend_token()
                await self._act(read_frame(raw))
            except AtriumError as error:
                log.info("frame_refused", code=error.code)
                await self._tell_error(error, request_id=request_id_of(raw))
            except Exception:
                # The edge of one frame: a bug in what it asks for is told to the client, and the socket stays.
                log.exception("frame_failed")
                await self._tell_error(Internal(), request_id=request_id_of(raw))

    async def disconnect(self, code: int) -> None:
        """Stop following; the messages go on."""
        self._closed = True
        if self._counted:
            self._counted = False
            meters().level("websockets", -1)
        await self._tasks.close()

    async def _act(self, frame: ClientFrame) -> None:
        if isinstance(frame, Ping):
            await self._tell({"type": "pong"})
            return
        if not await self._check_caller() or self._principal is None:
            return
        needed = FRAME_PERMISSIONS[type(frame)]
        if needed is not None:
            require(self._principal, needed)
        if isinstance(frame, MessageCreate):
            await self._create(self._principal, frame)
        elif isinstance(frame, MessageStop):
            await self._stop(self._principal, frame)
        else:
            await self._resume(frame)

    async def _create(self, principal: Principal, frame: MessageCreate) -> None:
        """The frame's request id is the request's, where it is well formed; its Run ends the trail."""
        outer = ensure_request()
        context = RequestContext(accept_request_id(frame.request_id), outer.trace_id, outer.address)
        trail = Trail("ws", context.request_id, context.trace_id)
        trail.route, trail.parent, trail.asker = "message.create", self._parent, principal
        trail.model, trail.assistant = frame.model or "", frame.assistant or ""
        with request_context(context), on_trail(trail):
            try:
                started = await self._start_run(principal, frame)
            except AtriumError as error:
                trail.state, trail.status, trail.error = "failed", error.status, error.code
                trail.finish()
                raise
        if started is None:
            return
        if started.repeated:
            trail.status = 200
            trail.finish()
        self._follow(started.message_id, 0)

    async def _start_run(self, principal: Principal, frame: MessageCreate) -> StartedRun | None:
        """The Run of the frame; None for a draft's trial, which is followed already."""
        if frame.attachments:
            raise BadInput(
                "Attachments are not taken here: upload documents into a knowledge base.", param="attachments"
            )
        if frame.draft is not None or frame.history is not None:
            self._try(principal, frame)
            return None
        if frame.assistant is None and frame.model is None:
            raise BadInput("Name an `assistant` or a `model`.", param="model")
        self._want_place(None)
        return await self._doors.start_run(
            principal=principal,
            request_id=frame.request_id,
            content=frame.content,
            assistant=frame.assistant,
            model=frame.model,
            conversation_id=frame.conversation_id,
            knowledge_base_ids=frame.knowledge_base_ids,
            origin="ws",
        )

    def _try(self, principal: Principal, frame: MessageCreate) -> None:
        """Try a draft: its events go to this socket alone, and end with it."""
        self._want_place(None)
        trial = self._doors.start_trial(
            principal=principal,
            request_id=frame.request_id,
            content=frame.content,
            draft=drafted(frame),
            history=tuple(Turn(MessageRole(turn.role), turn.content) for turn in frame.history or ()),
        )
        self._trials[trial.message_id] = trial
        task = self._tasks.start(f"try-{trial.message_id}", self._pump(trial.message_id, trial.events()))
        trail = current_trail()
        task.add_done_callback(lambda _: _end_trial(trail))
        self._followers[trial.message_id] = task

    async def _stop(self, principal: Principal, frame: MessageStop) -> None:
        message_id = _message_id(frame.message_id)
        trial = self._trials.get(message_id)
        if trial is not None:
            trial.stop()
            return
        try:
            await self._doors.stop_run(principal=principal, message_id=message_id)
        except NotFound as error:
            await self._tell_error(error, message_id=message_id)

    async def _resume(self, frame: Resume) -> None:
        message_id = _message_id(frame.message_id)
        self._want_place(message_id)
        self._follow(message_id, frame.last_seq)

    def _want_place(self, message_id: uuid.UUID | None) -> None:
        if message_id not in self._followers and len(self._followers) >= self._limits.followed:
            raise RateLimited(
                f"A socket follows {self._limits.followed} messages at once.", retry_after_s=1.0
            )

    def _follow(self, message_id: uuid.UUID, last_seq: int) -> None:
        """Follow from `last_seq`; who followed the message on this socket until now gives way."""
        earlier = self._followers.pop(message_id, None)
        if earlier is not None:
            earlier.cancel()
        task = self._tasks.start(f"follow-{message_id}", self._read(message_id, last_seq, earlier))
        self._followers[message_id] = task

    async def _read(self, message_id: uuid.UUID, last_seq: int, earlier: asyncio.Task[None] | None) -> None:
        """Follow one message until its end, once who followed it before has given way."""
        if earlier is not None:
            await asyncio.wait({earlier})
        principal = self._principal
        if principal is not None:
            events = self._doors.follow_run(principal=principal, message_id=message_id, last_seq=last_seq)
            await self._pump(message_id, events)

    async def _pump(self, message_id: uuid.UUID, events: AsyncGenerator[RunEvent, None]) -> None:
        """Send the events of one message until its end."""
        try:
            async with aclosing(events):
                async for event in events:
                    if self._is_due() and not await self._check_caller():
                        return
                    await self._tell({**event.body, "seq": event.seq})
                    if self._closed:
                        return
        except AtriumError as error:
            await self._tell_error(error, message_id=message_id)
            if isinstance(error, Unavailable):
                # The log is away: the client comes back and resumes where it was.
                await self._end(TRY_LATER)
        except Exception:
            # The edge of one message's task: nobody above it could tell the client. The Run goes on without its reader,
            # who comes back to where it was.
            log.exception("follower_failed", message_id=str(message_id))
            await self._tell_error(Internal(), message_id=message_id)
            await self._end(TRY_LATER)
        finally:
            self._trials.pop(message_id, None)
            if self._followers.get(message_id) is asyncio.current_task():
                del self._followers[message_id]

    def _is_due(self) -> bool:
        """Whether the caller's right to read on should be looked at again."""
        every = self._limits.recheck_key_s if self._credential.key else self._limits.recheck_session_s
        return time.monotonic() - self._checked_at >= every

    async def _see_out(self, principal: Principal) -> None:
        """Close the socket as soon as its caller's rights end, whatever it does just then."""
        refusal = await self._doors.until_refused(principal, self._authenticate)
        await self._tell_error(refusal)
        await self._end(NOT_SIGNED_IN if isinstance(refusal, NotSignedIn) else NOT_ALLOWED)

    async def _authenticate(self) -> Principal:
        if self._credential.key:
            return await self._doors.authenticate_key(self._credential.key)
        return await self._doors.authenticate_session(self._credential.session, self._credential.tenant)

    async def _check_caller(self) -> bool:
        """Whether the credential is (still) good; closes the socket when it is not."""
        self._checked_at = time.monotonic()
        try:
            self._principal = await self._authenticate()
        except (NotSignedIn, PermissionDenied) as error:
            # The code alone does not say whether a tenant is suspended or a factor is missing.
            await self._tell_error(error)
            await self._end(NOT_SIGNED_IN if isinstance(error, NotSignedIn) else NOT_ALLOWED)
        except Unavailable:
            if self._principal is None:
                await self._end(TRY_LATER)
        return not self._closed

    def _spend_token(self) -> None:
        """Raises RateLimited when frames come faster than a socket may send them."""
        now = time.monotonic()
        limits = self._limits
        self._tokens = min(limits.frame_burst, self._tokens + (now - self._refilled_at) * limits.frames_per_s)
        self._refilled_at = now
        if self._tokens < 1:
            raise RateLimited("Frames come too fast.", retry_after_s=1.0)
        self._tokens -= 1

    async def _tell_error(
        self, error: AtriumError, *, request_id: str | None = None, message_id: uuid.UUID | None = None
    ) -> None:
        """An error outside of any message's events: it has no `seq`."""
        frame = {"type": "error", "code": error.code, "message": error.message}
        if request_id is not None:
            frame["request_id"] = request_id
        if message_id is not None:
            frame["message_id"] = str(message_id)
        await self._tell(frame)

    async def _tell(self, frame: dict[str, Any]) -> None:
        """Send; a client that takes nothing for ten seconds is closed."""
        if self._closed:
            return
        if frame["type"] == "error":
            frame = {**frame, "message": in_language(self._language, frame["message"])}
        try:
            async with asyncio.timeout(self._limits.send_s):
                await self.send(text_data=orjson.dumps(frame).decode())
        except TimeoutError:
            log.warning("socket_reads_too_slowly")
            await self._end(TRY_LATER)

    async def _end(self, code: int) -> None:
        """Close; a client that does not even take that is left to the server's own limits."""
        if self._closed:
            return
        self._closed = True
        for task in self._followers.values():
            if task is not asyncio.current_task():
                task.cancel()
        try:
            async with asyncio.timeout(1.0):
                await self.close(code)
        except TimeoutError:
            log.warning("socket_not_closed", code=code)


def _end_trial(trail: Trail | None) -> None:
    """A trial has ended, however: its way was for its author's eyes, and only its figures stay."""
    if trail is not None:
        trail.status = 200
        trail.finish()


def _message_id(text: str) -> uuid.UUID:
    found = parse_uuid(text)
    if found is None:
        raise NotFound("There is no such message.")
    return found


def _report(name: str, error: BaseException) -> None:
    log.error("socket_task_failed", task=name, error=str(error))
