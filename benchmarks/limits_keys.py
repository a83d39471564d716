"""The key of a caller who has every limit there is; run as a program, it makes one in the installation at hand and prints it."""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

if __name__ == "__main__":
    sys.path[:0] = [str(ROOT), str(ROOT / "platform")]
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    import django

    django.setup()

from substrate.changes import record_change  # noqa: E402 - Django comes first
from substrate.scoping import tenant_scope  # noqa: E402
from tenants.limit_types import Level, Measure  # noqa: E402
from tenants.models import Quota, User  # noqa: E402
from tenants.services import create_tenant, create_user, issue_api_key  # noqa: E402

MUCH = 5_000_000_000
LEVELS = (Level.TENANT, Level.USER, Level.KEY, Level.MODEL)
MEASURES = (
    Measure.REQUESTS_PER_MINUTE,
    Measure.TOKENS_PER_MINUTE,
    Measure.CONCURRENCY,
    Measure.TOKENS_PER_DAY,
    Measure.MONEY_PER_MONTH,
)


def make_limited_key() -> str:
    """The key of a user in a new tenant with all limits, soft ones too, none of which is ever reached."""
    tenant = create_tenant(slug="limited", name="Limited")
    create_user(email="limited@bench.test", tenant_slug="limited", role="member")
    user = User.objects.get(email="limited@bench.test")
    with tenant_scope(tenant.id):
        for level in LEVELS:
            for measure in MEASURES:
                much = MUCH * 1_000_000 if measure.is_money else MUCH
                row = Quota.objects.create(level=level, subject="", measure=measure, hard=much, soft=much - 1)
        # One tells of all: servers load the limits of a tenant together.
        record_change(kind="quota", object_id=row.id, tenant_id=tenant.id)
    return issue_api_key(tenant_id=tenant.id, name="limited", user_id=user.id).key


if __name__ == "__main__":
    print(make_limited_key())
