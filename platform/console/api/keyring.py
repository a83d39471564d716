"""`/backups/keyring`: the keyring is taken away under a passphrase. For platform operators at a browser alone."""

from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from console.keeping import GivenKeyring, KeyringSafe
from kernel.backends import backends
from kernel.errors import BadInput
from substrate.openapi import answers
from substrate.rest import AtriumView, StrictSerializer
from tenants.permissions import OPERATE
from tenants.rest import principal
from tenants.services import is_reauthenticated, require_reauthentication

SHORTEST, LONGEST = 12, 1024
LARGEST_FILE = 16_384


class PassphraseField(serializers.CharField):
    """A passphrase, as it was typed."""

    def __init__(self, **options: Any) -> None:
        """Spaces count."""
        super().__init__(trim_whitespace=False, max_length=LONGEST, **options)


class SaveKeyringInput(StrictSerializer):
    """The passphrase that will open the file. Nobody can find it out again."""

    passphrase = PassphraseField(min_length=SHORTEST)


class GivenKeyringInput(StrictSerializer):
    """The text of a keyring file and the passphrase that opens it: both, or neither."""

    keyring = serializers.CharField(
        max_length=LARGEST_FILE, required=False, help_text="The text of a keyring file that was saved here."
    )
    passphrase = PassphraseField(required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Both, or neither."""
        if ("keyring" in attrs) != ("passphrase" in attrs):
            missing = "passphrase" if "keyring" in attrs else "keyring"
            raise serializers.ValidationError({missing: "Give the keyring file and its passphrase."})
        return attrs


class KeyringOutput(serializers.Serializer[Any]):
    """The keyring, never its secrets. `saved_at`: when these very secrets were last taken away."""

    fingerprints = serializers.DictField(child=serializers.CharField(), help_text="By version.")
    origin = serializers.ChoiceField(("file", "environment"))
    saved_at = serializers.DateTimeField(allow_null=True)
    saved_by = serializers.CharField()
    reauthenticated = serializers.SerializerMethodField(
        help_text="Whether this session's person gave a password or factor again within the last five minutes."
    )

    def get_reauthenticated(self, view: Any) -> bool:
        """By the session of the request."""
        request = self.context["request"]
        return is_reauthenticated(principal=principal(request), request=request._request)


class KeyringFileOutput(serializers.Serializer[Any]):
    """The keyring under a passphrase: scrypt makes the key, AES-256-GCM seals. To be kept as it is, as JSON."""

    atrium_keyring = serializers.IntegerField()
    kdf = serializers.CharField()
    cost = serializers.IntegerField()
    block = serializers.IntegerField()
    lanes = serializers.IntegerField()
    salt = serializers.CharField()
    cipher = serializers.CharField()
    nonce = serializers.CharField()
    fingerprints = serializers.DictField(child=serializers.CharField())
    sealed = serializers.CharField()


def given_keyring(request: Request, form: Any) -> GivenKeyring | None:
    """The keyring given with a request, if any. Raises ReauthenticationRequired: it may replace this installation's."""
    given = form.validated_data
    if "keyring" not in given:
        return None
    require_reauthentication(principal=principal(request), request=request._request)
    return GivenKeyring(given["keyring"], given["passphrase"])


class KeyringView(AtriumView):
    """The keyring of this installation."""

    required_permission: ClassVar[str] = OPERATE
    # Nobody gets it by repeating what another one was answered.
    idempotent: ClassVar[bool] = False

    @extend_schema(operation_id="keyring_get", responses=answers({200: KeyringOutput}, 503))
    def get(self, request: Request) -> Response:
        """What there is to know of it."""
        case: KeyringSafe = backends["keyring_case"]
        return Response(KeyringOutput(case.state(), context={"request": request}).data)

    @extend_schema(
        operation_id="keyring_save",
        request=SaveKeyringInput,
        responses=answers({200: KeyringFileOutput}, 503),
    )
    def post(self, request: Request) -> Response:
        """Take it away under a passphrase. The person must have given a password or factor again just now."""
        require_reauthentication(principal=principal(request), request=request._request)
        form = SaveKeyringInput(data=request.data)
        form.is_valid(raise_exception=True)
        passphrase: str = form.validated_data["passphrase"]
        if len(set(passphrase)) < 4:
            raise BadInput("Choose a passphrase of more different characters.", param="passphrase")
        case: KeyringSafe = backends["keyring_case"]
        return Response(dict(case.save(passphrase)), headers={"Cache-Control": "no-store"})
