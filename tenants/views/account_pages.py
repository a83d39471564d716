"""Pages of one's own account, below `/accounts/`: signing in, and where one is signed in."""

from typing import Any, cast

from allauth.account.views import LoginView
from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from kernel.errors import NotFound
from kernel.ids import parse_uuid
from tenants.identity import TooManyAttempts
from tenants.models import User
from tenants.services.sessions import end_other_sessions, end_own_session, own_sessions


class SignInView(LoginView):
    """The login page; too many wrong passwords answer 429 and say when to come back."""

    def form_invalid(self, form: forms.Form) -> HttpResponse:
        """The page with what was wrong."""
        response: HttpResponse = super().form_invalid(form)
        for error in form.non_field_errors().as_data():
            if isinstance(error, TooManyAttempts):
                response.status_code = 429
                response["Retry-After"] = str(error.wait_s)
        return response


@never_cache
@login_required
@require_GET
def show_sessions(request: HttpRequest) -> HttpResponse:
    """Where one is signed in."""
    sessions = own_sessions(user_id=_user(request).id, session_key=_key(request))
    words: dict[str, Any] = {"sessions": sessions, "others": any(not each.current for each in sessions)}
    return render(request, "account/sessions.html", words)


@login_required
@require_POST
def end_sessions(request: HttpRequest) -> HttpResponse:
    """End the session that is named, or all others."""
    user = _user(request)
    named = request.POST.get("session", "")
    if named == "others":
        ended = end_other_sessions(user_id=user.id, session_key=_key(request))
        messages.info(request, f"Signed out on {ended} other {'device' if ended == 1 else 'devices'}.")
        return redirect("account_sessions")
    session_id = parse_uuid(named)
    try:
        if session_id is not None:
            end_own_session(user_id=user.id, session_id=session_id)
            messages.info(request, "Signed out there.")
    except NotFound:
        messages.info(request, "That session had ended already.")
    return redirect("account_sessions")


def _user(request: HttpRequest) -> User:
    # `login_required` let it pass, and every account is one of ours.
    return cast(User, request.user)


def _key(request: HttpRequest) -> str:
    return request.session.session_key or ""
