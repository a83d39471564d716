"""The frames that clients send over `/ws/chat`: one JSON object each, checked by msgspec."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from assistants.types import AssistantDraft
from kernel.errors import BadInput, NotFound
from kernel.ids import parse_uuid

FRAME_BYTES = 256 * 1024
_Id = Annotated[str, Meta(min_length=1, max_length=128)]


class HistoryTurn(Struct, kw_only=True):
    """An earlier question or answer of a trial, which its client keeps."""

    role: Literal["user", "assistant"]
    content: str


class Draft(Struct, kw_only=True, forbid_unknown_fields=True):
    """An assistant that is being edited and not saved."""

    name: Annotated[str, Meta(max_length=200)] = ""
    instructions: str = ""
    model: Annotated[str, Meta(min_length=1, max_length=256)] = "auto"
    knowledge_base_ids: Annotated[list[_Id], Meta(max_length=20)] = []


class MessageCreate(Struct, tag_field="type", tag="message.create", kw_only=True):
    """A question. The same `request_id` again is the same message.

    With a `draft` the question tries an assistant that is not saved: nothing is stored, `history` are the turns before.
    """

    request_id: _Id
    content: str
    assistant: Annotated[str, Meta(min_length=1, max_length=64)] | None = None
    model: Annotated[str, Meta(min_length=1, max_length=256)] | None = None
    conversation_id: _Id | None = None
    knowledge_base_ids: Annotated[list[_Id], Meta(max_length=20)] | None = None
    attachments: list[Any] | None = None
    draft: Draft | None = None
    history: Annotated[list[HistoryTurn], Meta(max_length=40)] | None = None


class MessageStop(Struct, tag_field="type", tag="message.stop", kw_only=True):
    """Stop the answer, wherever it is being written."""

    message_id: _Id


class Resume(Struct, tag_field="type", tag="resume", kw_only=True):
    """Follow a message again, from what came after `last_seq`."""

    message_id: _Id
    last_seq: Annotated[int, Meta(ge=0, le=2**53)] = 0


class Ping(Struct, tag_field="type", tag="ping", kw_only=True):
    """Answered by `pong`."""


ClientFrame = MessageCreate | MessageStop | Resume | Ping
# What one must be allowed for each frame; a ping asks nothing.
FRAME_PERMISSIONS: dict[type[ClientFrame], str | None] = {
    MessageCreate: "chat.use",
    MessageStop: "conversations.own",
    Resume: "conversations.own",
    Ping: None,
}
_decoder: msgspec.json.Decoder[ClientFrame] = msgspec.json.Decoder(ClientFrame)


class _Traced(Struct):
    """What of a frame that is not valid can still be told apart."""

    request_id: str | None = None


def read_frame(raw: str | bytes) -> ClientFrame:
    """The frame in `raw`. Raises BadInput."""
    try:
        return _decoder.decode(raw)
    except msgspec.ValidationError as error:
        raise BadInput(f"This frame is not valid: {error}.") from error
    except (msgspec.DecodeError, UnicodeError) as error:
        raise BadInput("A frame is one JSON object.") from error


def request_id_of(raw: str | bytes) -> str | None:
    """The `request_id` of a frame that is not valid otherwise, so that its sender knows which one it was."""
    try:
        return msgspec.json.decode(raw, type=_Traced).request_id
    except (msgspec.DecodeError, UnicodeError):
        return None


def drafted(frame: MessageCreate) -> AssistantDraft:
    """The assistant that the frame tries. Raises BadInput for what does not go together with a draft."""
    if frame.draft is None:
        raise BadInput("A `history` goes with a `draft` alone.", param="history")
    for name in ("assistant", "model", "conversation_id", "knowledge_base_ids"):
        if getattr(frame, name) is not None:
            raise BadInput(f"With a `draft` there is no `{name}` beside it.", param=name)
    draft = frame.draft
    bases = tuple(parse_uuid(each) for each in draft.knowledge_base_ids)
    known = tuple(each for each in bases if each is not None)
    if len(known) < len(bases):
        raise NotFound("There is no such knowledge base.", param="knowledge_base_ids")
    return AssistantDraft(draft.name, draft.instructions, draft.model, known)
