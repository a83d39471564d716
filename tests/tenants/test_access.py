"""What runs for somebody ends when their rights do: woken by the change, and by none that is not theirs."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from factories.tenants import make_key, make_membership, make_tenant, make_user
from fakes.clocks import FrozenClock

from kernel.backends import backends
from kernel.errors import AtriumError, NotSignedIn, PermissionDenied, TenantSuspended, Unavailable
from substrate.changes import EVERYTHING, ChangeTail
from substrate.crossing import system_scope
from substrate.ports import ChangeEvent
from substrate.units import run_unit
from tenants.attending import MARKS_KEPT_S, AccessWatch
from tenants.models import Membership
from tenants.selectors import principal_of_membership
from tenants.services import (
    authenticate_key,
    change_role,
    change_tenant,
    change_user,
    create_role,
    renew_principal,
    revoke_api_key,
    until_refused,
)
from tenants.services.users import change_member, remove_member
from tenants.types import IssuedKey, Principal, Role, TenantState

pytestmark = pytest.mark.django_db(transaction=True)


class Process:
    """A process with its keys and its watch, following the change log."""

    def __init__(self) -> None:
        """Fed by a tail of its own."""
        self.tail = ChangeTail()
        self.watch: AccessWatch = backends["access_watch"]
        self.tail.listen(backends["key_directory"].on_change)
        self.tail.listen(self.watch.on_change)


@pytest.fixture
async def process() -> Process:
    """Started, with nothing changed yet."""
    made = Process()
    await made.tail.start()
    return made


def principal_of(membership: Membership) -> Principal:
    with system_scope("tests", read_only=True):
        return principal_of_membership(
            Membership.objects.select_related("tenant", "user").get(id=membership.id)
        )


@asynccontextmanager
async def waiting(principal: Principal, **options: object) -> AsyncIterator["asyncio.Task[AtriumError]"]:
    """A task that waits for the end of the principal's rights."""
    task = asyncio.ensure_future(until_refused(principal, **options))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    yield task
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def refusal(process: Process, task: "asyncio.Task[AtriumError]") -> AtriumError:
    """What the task ends with once the process has caught up."""
    await process.tail.catch_up()
    async with asyncio.timeout(2):
        return await task


async def goes_on(process: Process, task: "asyncio.Task[AtriumError]") -> bool:
    """Whether the task still waits after the process has caught up."""
    await process.tail.catch_up()
    await asyncio.sleep(0.1)
    return not task.done()


Scene = tuple[Principal, Membership, Principal]


@pytest.fixture
async def scene() -> Scene:
    """A member's principal, the membership, and the principal of an owner beside them."""

    def build() -> Scene:
        tenant = make_tenant()
        member, boss = make_membership(tenant), make_membership(tenant, role=Role.OWNER)
        return principal_of(member), member, principal_of(boss)

    return await run_unit(build)


Undo = Callable[[Scene], None]


@pytest.mark.parametrize(
    ("act", "kind"),
    [
        (lambda s: change_member(principal=s[2], user_id=s[1].user_id, disabled=True), PermissionDenied),
        (lambda s: remove_member(principal=s[2], user_id=s[1].user_id), PermissionDenied),
        (lambda s: change_user(user_id=s[1].user_id, is_active=False), NotSignedIn),
        (lambda s: change_tenant(tenant_id=s[0].tenant_id, state=TenantState.SUSPENDED), TenantSuspended),
    ],
)
async def test_a_member_whose_rights_end(
    process: Process, scene: Scene, act: Callable[[Scene], object], kind: type[AtriumError]
) -> None:
    async with waiting(scene[0]) as task:
        assert await goes_on(process, task)
        await run_unit(act, scene)
        assert type(await refusal(process, task)) is kind
    assert len(process.watch) == 0


async def test_a_key_whose_rights_end(process: Process) -> None:
    def build() -> tuple[IssuedKey, IssuedKey]:
        tenant = make_tenant()
        return make_key(tenant), make_key(tenant)

    ended, other = await run_unit(build)
    principals = [await authenticate_key(ended.key), await authenticate_key(other.key)]
    async with waiting(principals[0]) as task, waiting(principals[1]) as beside:
        await run_unit(lambda: revoke_api_key(prefix=ended.prefix))
        assert type(await refusal(process, task)) is NotSignedIn
        assert await goes_on(process, beside)


async def test_others_are_not_woken(process: Process, scene: Scene) -> None:
    stranger = await run_unit(make_user)
    asked: list[int] = []

    async def again() -> Principal:
        asked.append(1)
        return scene[0]

    async with waiting(scene[0], again=again) as task:
        await run_unit(lambda: change_user(user_id=stranger.id, is_active=False))
        assert await goes_on(process, task)
        assert not asked
        # A change that takes nothing away is looked at once, and no more.
        await run_unit(lambda: change_user(user_id=scene[1].user_id, name="New"))
        assert await goes_on(process, task)
        assert len(asked) == 1


async def test_a_change_just_before_the_following_is_not_missed(process: Process, scene: Scene) -> None:
    await run_unit(lambda: change_member(principal=scene[2], user_id=scene[1].user_id, disabled=True))
    await process.tail.catch_up()
    async with waiting(scene[0]) as task, asyncio.timeout(2):
        assert type(await task) is PermissionDenied


async def test_a_permission_that_goes_is_an_end(process: Process, scene: Scene) -> None:
    async with waiting(scene[0], permission="chat.use") as task, waiting(scene[0]) as without:
        await run_unit(lambda: change_member(principal=scene[2], user_id=scene[1].user_id, role=Role.VIEWER))
        assert type(await refusal(process, task)) is PermissionDenied
        assert await goes_on(process, without)


async def test_a_role_that_loses_a_permission_is_an_end(process: Process, scene: Scene) -> None:
    member, boss = scene[1], scene[2]
    role = await run_unit(
        create_role, principal=boss, name="Chatter", permissions=["chat.use", "models.read"]
    )
    await run_unit(change_member, principal=boss, user_id=member.user_id, custom_role_id=role.id)
    await process.tail.catch_up()
    async with waiting(scene[0], permission="chat.use") as task, waiting(scene[0]) as without:
        assert await goes_on(process, task)
        await run_unit(change_role, principal=boss, role_id=role.id, permissions=["models.read"])
        assert type(await refusal(process, task)) is PermissionDenied
        assert await goes_on(process, without)


async def test_nobody_is_refused_while_the_database_is_away(process: Process, scene: Scene) -> None:
    answers: list[AtriumError] = [Unavailable("away"), NotSignedIn()]

    async def again() -> Principal:
        raise answers.pop(0)

    async with waiting(scene[0], again=again) as task:
        process.watch.on_change(ChangeEvent(1, EVERYTHING, None, ""))
        await asyncio.sleep(0.2)
        assert not task.done()
        async with asyncio.timeout(3):
            assert type(await task) is NotSignedIn


async def test_renewal_tells_the_rights_of_now(scene: Scene) -> None:
    await run_unit(lambda: change_member(principal=scene[2], user_id=scene[1].user_id, role=Role.ADMIN))
    assert (await renew_principal(scene[0])).role is Role.ADMIN


def test_marks_are_forgotten_in_time() -> None:
    clock = FrozenClock()
    watch = AccessWatch(clock=clock)
    one, two = (Principal(tenant_id=each, tenant_slug="", role=Role.MEMBER) for each in _ids())
    watch.on_change(ChangeEvent(1, "tenant", None, str(one.tenant_id)))
    with watch.following(one) as touched, watch.following(two) as other:
        assert touched.is_set()
        assert not other.is_set()
    clock.advance(timedelta(seconds=MARKS_KEPT_S + 1))
    with watch.following(one) as touched:
        assert not touched.is_set()


def _ids() -> list[uuid.UUID]:
    return [uuid.uuid4(), uuid.uuid4()]
