"""What protects people is what settings say, whatever the tests use to be quick."""

from typing import Any

from django.contrib.auth.hashers import check_password, make_password

from config.settings.security import PASSWORD_HASHERS


def test_new_passwords_are_hashed_by_argon2id(settings: Any) -> None:
    settings.PASSWORD_HASHERS = PASSWORD_HASHERS
    stored = make_password("correct horse battery staple")
    assert stored.startswith("argon2$argon2id$")
    assert check_password("correct horse battery staple", stored)
    assert not check_password("correct horse battery", stored)
