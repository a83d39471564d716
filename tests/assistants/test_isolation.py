"""A person of two tenants has in each the assistants, conversations and messages of that one alone, by whatever id."""

import uuid
from dataclasses import dataclass
from typing import Any

import pytest
from django.utils import timezone
from factories.tenants import make_membership, make_principal, make_tenant, session_client

from assistants import selectors
from assistants.models import Assistant, Conversation, Message
from assistants.ownership import owner_of
from assistants.services import catalogue, conversations, finding, transcripts
from assistants.services.sharing import SharedAssistants
from assistants.services.transcripts import Ending, NewRun
from assistants.types import MessageRole, MessageState
from kernel.errors import NotFound
from substrate.crossing import system_scope
from substrate.scoping import tenant_scope
from tenants.models import Membership, Tenant, User
from tenants.types import Principal, Role

pytestmark = pytest.mark.django_db
CANARY = "canary-9b20-of-another-tenant"


@dataclass
class Person:
    """Somebody as a member of `mine`, with a conversation, a running answer and an assistant in `other`."""

    here: Principal
    other: Tenant
    owner: str
    assistant: Assistant
    conversation: Conversation
    message: Message

    def rows(self) -> list[list[dict[str, Any]]]:
        with system_scope("tests", read_only=True):
            return [
                list(model.objects.filter(tenant_id=self.other.id).order_by("pk").values())
                for model in (Assistant, Conversation, Message)
            ]


@pytest.fixture
def person() -> Person:
    here, other = make_principal(role=Role.OWNER), make_tenant()
    make_membership(other, User.objects.get(id=here.user_id))
    owner = owner_of(here)
    with tenant_scope(other.id):
        assistant = Assistant.objects.create(slug="helper", name=CANARY, model="auto")
        conversation = Conversation.objects.create(owner=owner, title=CANARY)
        said = {"conversation": conversation, "owner": owner, "content": CANARY}
        Message.objects.create(**said, position=1, role=MessageRole.USER, state=MessageState.COMPLETED)
        answer = {"role": MessageRole.ASSISTANT, "state": MessageState.RUNNING, "request_id": "again"}
        message = Message.objects.create(**said, **answer, position=2)
    return Person(here, other, owner, assistant, conversation, message)


def test_nothing_of_another_tenant_is_loaded(person: Person) -> None:
    tenant = person.here.tenant_id
    assert selectors.load_assistant(tenant, "helper") is None
    assert transcripts.find_run(tenant, person.owner, "again") is None
    assert SharedAssistants().find(tenant_id=tenant, object_id=str(person.assistant.id)) is None
    with pytest.raises(NotFound):
        selectors.load_history(tenant, person.owner, person.conversation.id)
    with pytest.raises(NotFound):
        selectors.load_message(tenant, person.owner, person.message.id)


def test_nothing_of_another_tenant_is_found_by_its_name(person: Person) -> None:
    asked: dict[str, Any] = {"principal": person.here, "text": CANARY, "limit": 9}
    assert finding.find_assistants(**asked) == ()
    assert finding.find_conversations(**asked) == ()
    assert CANARY not in repr(catalogue.list_assistants(principal=person.here))


@pytest.mark.parametrize("path", ["assistants", "conversations", f"conversations?q={CANARY}"])
def test_nothing_of_another_tenant_is_listed(person: Person, path: str) -> None:
    with tenant_scope(person.here.tenant_id, read_only=True):
        client = session_client(Membership.objects.get(id=person.here.membership_id))
    answer = client.get(f"/api/v1/{path}")
    assert (answer.status_code, answer.json()["results"]) == (200, [])
    messages = client.get(f"/api/v1/conversations/{person.conversation.id}/messages")
    assert (messages.status_code, CANARY in messages.content.decode()) == (404, False)


def test_nothing_of_another_tenant_is_opened_or_changed(person: Person) -> None:
    before, about = person.rows(), {"principal": person.here, "conversation_id": person.conversation.id}
    for act in (conversations.get_conversation, conversations.delete_conversation):
        with pytest.raises(NotFound):
            act(**about)
    with pytest.raises(NotFound):
        conversations.rename_conversation(**about, title="mine")
    with pytest.raises(NotFound):
        conversations.export_conversation(**about)
    assert person.rows() == before


def test_no_answer_is_written_into_another_tenant(person: Person) -> None:
    before, tenant = person.rows(), person.here.tenant_id
    ending = Ending(MessageState.COMPLETED, "mine")
    assert not transcripts.close_run(tenant, person.message.id, ending)
    transcripts.save_progress(tenant, person.message.id, "mine")
    new = NewRun(
        tenant_id=tenant,
        owner=person.owner,
        request_id="again",
        message_id=uuid.uuid4(),
        content="mine",
        assistant="",
        conversation_id=person.conversation.id,
    )
    with pytest.raises(NotFound):
        transcripts.store_exchange(new, ending)
    with pytest.raises(NotFound):
        transcripts.open_run(new)
    assert person.rows() == before


@pytest.mark.parametrize(
    ("act", "given"),
    [
        (catalogue.get_assistant, {}),
        (catalogue.update_assistant, {"name": "mine"}),
        (catalogue.duplicate_assistant, {}),
        (catalogue.clear_semantic_cache, {}),
        (catalogue.delete_assistant, {}),
    ],
)
def test_an_assistant_of_another_tenant_is_not_there(person: Person, act: Any, given: dict[str, Any]) -> None:
    before = person.rows()
    with pytest.raises(NotFound):
        act(principal=person.here, slug="helper", **given)
    assert person.rows() == before


def test_a_deleted_assistant_of_another_tenant_is_not_restored(person: Person) -> None:
    with tenant_scope(person.other.id):
        Assistant.objects.update(deleted_at=timezone.now())
    before = person.rows()
    with pytest.raises(NotFound):
        catalogue.restore_assistant(principal=person.here, slug="helper")
    assert person.rows() == before
