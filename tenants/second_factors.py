"""Second factors by django-allauth: secrets encrypted by the keyring, names of keys, what the record says of changes."""

from allauth.mfa.adapter import DefaultMFAAdapter
from django.contrib.auth.base_user import AbstractBaseUser

from substrate.keyring import keyring

CONTEXT = "mfa:authenticator"
# Allauth's names of its letters, in the words of the record.
ACTS = {
    "mfa/email/totp_activated": "authenticator app turned on",
    "mfa/email/totp_deactivated": "authenticator app turned off",
    "mfa/email/webauthn_added": "passkey added",
    "mfa/email/webauthn_removed": "passkey removed",
    "mfa/email/recovery_codes_generated": "recovery codes made",
    "account/email/password_changed": "password changed",
}


class SecondFactorAdapter(DefaultMFAAdapter):
    """What of second factors is our own."""

    def encrypt(self, text: str) -> str:
        """As it is stored."""
        return keyring().encrypt(text, context=CONTEXT)

    def decrypt(self, encrypted_text: str) -> str:
        """What `encrypt` was given. Raises Internal with another keyring."""
        return keyring().decrypt(encrypted_text, context=CONTEXT)

    def generate_authenticator_name(self, user: AbstractBaseUser, type: str) -> str:
        """What a new key is called until its owner says otherwise."""
        return "My passkey"
