"""Signing in with e-mail and password, by django-allauth: nobody signs up by themselves, sessions get their tenant."""

from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from django.http import HttpRequest

from substrate.changes import record_change
from tenants.models import User
from tenants.services.sign_in import bind_session


class AccountAdapter(DefaultAccountAdapter):
    """Closes sign-up, and binds each new session to the membership its user used last."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        """Users are made by administrators and commands."""
        return False

    def login(self, request: HttpRequest, user: Any) -> None:
        """Log in (Django gives the session a new key), then bind the session."""
        super().login(request, user)
        if isinstance(user, User):
            bind_session(user=user, session=request.session)

    def logout(self, request: HttpRequest) -> None:
        """Log out, and let what is open under this login hear of it."""
        user = request.user
        super().logout(request)
        if isinstance(user, User):
            record_change(kind="session", object_id=user.id)
