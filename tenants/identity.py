"""Signing in with e-mail and password, by django-allauth: nobody signs up by themselves, sessions get their tenant."""

from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from django.core.exceptions import ValidationError
from django.http import HttpRequest

from kernel.actors import Actor, acting
from substrate.changes import record_change
from substrate.wording import for_reader
from tenants.lockout import Attempts
from tenants.models import User
from tenants.second_factors import ACTS
from tenants.services.sessions import end_every_session, is_signed_in_at, note_browser
from tenants.services.sign_in import bind_session, confine_session
from tenants.services.sign_in_rules import note_change_of_protection, own_password
from tenants.types import normal_email


class TooManyAttempts(ValidationError):
    """Too many wrong passwords; `wait_s` seconds until the next try."""

    def __init__(self, wait_s: int) -> None:
        """Says how long to wait."""
        minutes = -(-wait_s // 60)
        wait = f"{wait_s} seconds" if wait_s < 60 else "1 minute" if minutes == 1 else f"{minutes} minutes"
        super().__init__(
            for_reader(
                f"Too many failed sign-ins. Try again in {wait}; until then even the right password is refused here."
            ),
            code="too_many_attempts",
        )
        self.wait_s = wait_s


class AccountAdapter(DefaultAccountAdapter):
    """Closes sign-up, and binds each new session to the membership its user used last."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        """Users are made by administrators and commands."""
        return False

    def pre_authenticate(self, request: HttpRequest, **credentials: Any) -> None:
        """Count the attempt. Raises ValidationError with the time to wait when there were too many."""
        email = normal_email(str(credentials.get("email", "")))
        self._attempts = Attempts(request, email, is_known=lambda address: is_signed_in_at(email, address))
        wait_s = self._attempts.take()
        if wait_s:
            raise TooManyAttempts(wait_s)

    def authenticate(self, request: HttpRequest, **credentials: Any) -> Any:
        """The user of the credentials, or None; a right password costs no attempt."""
        user = super().authenticate(request, **credentials)
        if user is not None:
            self._attempts.give_back()
        return user

    def login(self, request: HttpRequest, user: Any) -> None:
        """Log in (Django gives the session a new key), then bind the session."""
        super().login(request, user)
        if isinstance(user, User):
            note_browser(
                session=request.session,
                address=self.get_client_ip(request),
                device=request.headers.get("User-Agent", ""),
            )
            if user.password_given_by is not None:
                confine_session(session=request.session, tenant_id=user.password_given_by)
            bind_session(user=user, session=request.session)

    def set_password(self, user: Any, password: str) -> None:
        """A new password ends the other sessions; the one at hand goes on under a new key."""
        super().set_password(user, password)
        if not self.request.user.is_authenticated:
            # By a letter to the address, so it is theirs.
            own_password(user=user)
        end_every_session(user_id=user.id, but=str(self.request.session.session_key))

    def send_notification_mail(
        self, template_prefix: str, user: Any, context: dict[str, Any] | None = None, email: str | None = None
    ) -> None:
        """Called when somebody changed how their account is protected: it goes on record, and out by mail where that is on."""
        what = ACTS.get(template_prefix)
        if what is not None and isinstance(user, User):
            with acting(Actor("user", user.email, user.id)):
                note_change_of_protection(user=user, what=what)
        super().send_notification_mail(template_prefix, user, context, email)

    def logout(self, request: HttpRequest) -> None:
        """Log out, and let what is open under this login hear of it."""
        user = request.user
        super().logout(request)
        if isinstance(user, User):
            record_change(kind="session", object_id=user.id)
