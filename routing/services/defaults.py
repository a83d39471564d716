"""What the platform says of which model answers, for tenants that say nothing themselves: read, checked, replaced as a whole."""

from django.db import transaction

from inference.services import require_answering_model
from kernel.errors import BadInput
from routing.choice_directory import DEFAULT_KIND
from routing.choice_types import NOTHING_SAID, Policy, PolicyPart, PolicyView, written_policy
from routing.examples import Bank, write_bank
from routing.models import ChoiceDefault
from routing.selectors import load_default
from routing.services.likening import learn_examples
from routing.services.policies import NEVER_SET, named_models, parsed_policy, shown
from substrate.audit import record_act
from substrate.changes import record_change
from substrate.versions import check_version, version_of
from tenants.permissions import OPERATE
from tenants.services import require
from tenants.types import Principal

# The only one.
NAME = "default"


def get_default(*, principal: Principal) -> PolicyView:
    """What the platform says; nothing before it was ever set. Raises PermissionDenied."""
    require(principal, OPERATE)
    return shown(*_view(ChoiceDefault.objects.filter(name=NAME).first()))


def set_default(*, principal: Principal, document: object, expected: str | None = None) -> PolicyView:
    """Replace what the platform says; in force everywhere within two seconds, for tenants that say nothing themselves.

    Its examples are embedded before, booked to the tenant of the one who asks. `expected` is the version the caller has
    seen. Raises PermissionDenied, BadInput, Stale, Unavailable where examples cannot be embedded.
    """
    require(principal, OPERATE)
    policy = _checked(document)
    known = load_default()
    bank = learn_examples(principal, policy.examples, known[1])
    with transaction.atomic():
        _, made = ChoiceDefault.objects.get_or_create(name=NAME)
        row = ChoiceDefault.objects.select_for_update().get(name=NAME)
        if not (made and expected == NEVER_SET):
            check_version(row.updated_at, expected)
        before = written_policy(load_default()[0])
        row.document = written_policy(policy)
        row.vectors = write_bank(bank) if bank is not None else None
        row.save()
        record_change(kind=DEFAULT_KIND, object_id=row.id)
        record_act(
            act="changed",
            kind=DEFAULT_KIND,
            object_id=row.id,
            label=f"{len(policy.rules)} rules",
            before=before,
            after=written_policy(policy),
        )
        found = _view(row)
    return shown(*found)


def _checked(document: object) -> Policy:
    """The default of a document. Raises BadInput."""
    policy = parsed_policy(document)
    said = {part.value for part in PolicyPart}
    for name in policy.__struct_fields__:
        if name not in said and getattr(policy, name) != getattr(NOTHING_SAID, name):
            raise BadInput(f"This is for tenants to say, not for the platform: {name}.", param=name)
    for rule in policy.rules:
        if rule.groups or rule.assistants:
            raise BadInput(
                f"A rule of the platform asks for no groups and no assistants: {rule.name}.", param="rules"
            )
    for model in sorted(named_models(policy)):
        require_answering_model(model_id=model, tenant_id=None, param="policy")
    return policy


def _view(row: ChoiceDefault | None) -> tuple[PolicyView, Bank | None]:
    policy, bank = load_default()
    if row is None:
        return PolicyView(NOTHING_SAID, None, NEVER_SET), None
    return PolicyView(policy, row.updated_at, version_of(row.updated_at)), bank
