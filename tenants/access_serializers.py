"""Shapes of the REST API of groups and rights."""

from typing import Any

from rest_framework import serializers

from substrate.rest import StrictSerializer, ToldField
from tenants.access_types import DESCRIPTION_LENGTH, RESOURCE_KINDS, SubjectKind
from tenants.serializers import ROLES
from tenants.types import NAME_LENGTH

SUBJECT_KINDS = [each.value for each in SubjectKind]
RESOURCE_KIND_NAMES = list(RESOURCE_KINDS)
ALLOWS_NOTHING = "A role allows something: choose at least one permission."


class GroupInput(StrictSerializer):
    """A new group."""

    name = serializers.CharField(max_length=NAME_LENGTH)
    description = serializers.CharField(max_length=DESCRIPTION_LENGTH, required=False, allow_blank=True)


class GroupChange(StrictSerializer):
    """What of a group may be changed."""

    name = serializers.CharField(max_length=NAME_LENGTH, required=False)
    description = serializers.CharField(max_length=DESCRIPTION_LENGTH, required=False, allow_blank=True)


class GroupOutput(serializers.Serializer[Any]):
    """A group. `external_id` is the directory's id of a group that is provisioned from there, else empty."""

    id = serializers.CharField()
    name = serializers.CharField()
    description = serializers.CharField(allow_blank=True)
    external_id = serializers.CharField(allow_blank=True)
    members = serializers.IntegerField()
    created_at = serializers.DateTimeField()
    version = serializers.CharField()


class GroupMembersInput(StrictSerializer):
    """Members of the tenant to put into a group: all of them or nobody."""

    user_ids = serializers.ListField(child=serializers.UUIDField(), min_length=1, max_length=200)


class GroupMemberOutput(serializers.Serializer[Any]):
    """A member of the tenant in a group."""

    id = serializers.CharField(source="user_id")
    email = serializers.CharField()
    name = serializers.CharField(allow_blank=True)
    disabled = serializers.BooleanField()
    added_at = serializers.DateTimeField()


class PermissionOutput(serializers.Serializer[Any]):
    """A right by name. `allows` says it in words; `content`: it opens what people wrote; `mine`: the caller has it."""

    name = serializers.CharField()
    area = serializers.CharField()
    allows = serializers.CharField()
    content = serializers.BooleanField()
    roles = serializers.ListField(child=serializers.ChoiceField(ROLES))
    mine = serializers.BooleanField()


class PermissionListOutput(serializers.Serializer[Any]):
    """All permissions, in the order a table of them shows."""

    results = PermissionOutput(many=True)


class CustomRoleInput(StrictSerializer):
    """A new role, made of permissions that the caller has."""

    name = serializers.CharField(max_length=NAME_LENGTH)
    description = serializers.CharField(max_length=DESCRIPTION_LENGTH, required=False, allow_blank=True)
    permissions = serializers.ListField(
        child=serializers.CharField(max_length=64),
        min_length=1,
        max_length=100,
        error_messages={"min_length": ALLOWS_NOTHING},
    )


class CustomRoleChange(StrictSerializer):
    """What of a role may be changed."""

    name = serializers.CharField(max_length=NAME_LENGTH, required=False)
    description = serializers.CharField(max_length=DESCRIPTION_LENGTH, required=False, allow_blank=True)
    permissions = serializers.ListField(
        child=serializers.CharField(max_length=64),
        min_length=1,
        max_length=100,
        required=False,
        error_messages={"min_length": ALLOWS_NOTHING},
    )


class CustomRoleOutput(serializers.Serializer[Any]):
    """A role that the tenant made. `members` and `keys` count who and what has it."""

    id = serializers.CharField()
    name = serializers.CharField()
    description = serializers.CharField(allow_blank=True)
    permissions = serializers.ListField(child=serializers.CharField())
    members = serializers.IntegerField()
    keys = serializers.IntegerField()
    created_at = serializers.DateTimeField()
    version = serializers.CharField()


class SubjectInput(StrictSerializer):
    """A member, by the user's id, or a group."""

    kind = serializers.ChoiceField(SUBJECT_KINDS)
    id = serializers.UUIDField()


class SubjectOutput(serializers.Serializer[Any]):
    """A member, by the user's id and address, or a group."""

    kind = serializers.ChoiceField(SUBJECT_KINDS)
    id = serializers.CharField()
    name = serializers.CharField()
    hint = serializers.CharField(allow_blank=True)


class SubjectListOutput(serializers.Serializer[Any]):
    """People and groups that were found."""

    results = SubjectOutput(many=True)


class SharingInput(StrictSerializer):
    """Who may use a thing: everybody in the tenant, or (`restricted`) the `subjects` and those who see everything."""

    restricted = serializers.BooleanField()
    subjects = serializers.ListField(child=SubjectInput(), required=False, max_length=500)


class SharingOutput(serializers.Serializer[Any]):
    """Who may use a thing. `id` is the one it is granted by."""

    kind = serializers.ChoiceField(RESOURCE_KIND_NAMES)
    id = serializers.CharField()
    name = serializers.CharField()
    restricted = serializers.BooleanField()
    subjects = SubjectOutput(many=True)
    version = serializers.CharField()


class ExplainStepOutput(serializers.Serializer[Any]):
    """One step of a decision, in words; `code` is stable."""

    code = serializers.CharField()
    passed = serializers.BooleanField()
    text = ToldField()


class ExplanationOutput(serializers.Serializer[Any]):
    """Whether a user may use a thing; the first step that did not pass is the reason why not."""

    allowed = serializers.BooleanField()
    user = serializers.CharField()
    kind = serializers.ChoiceField(RESOURCE_KIND_NAMES)
    id = serializers.CharField()
    name = serializers.CharField()
    steps = ExplainStepOutput(many=True)
