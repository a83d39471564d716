"""Pages of one's own account, below `/accounts/`: signing in, where one is signed in, what of one's own is to be deleted."""

from typing import Any, cast

from allauth.account.internal.flows.login import record_authentication
from allauth.account.views import LoginView
from allauth.mfa.base.views import IndexView
from allauth.mfa.totp.views import ActivateTOTPView
from allauth.mfa.webauthn.views import AddWebAuthnView
from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from kernel.errors import Conflict, NotFound, PermissionDenied, TenantSuspended
from kernel.ids import parse_uuid
from substrate.wording import for_reader
from tenants.identity import TooManyAttempts
from tenants.lockout import may_look
from tenants.models import User
from tenants.services.own_deletion import find_own_deletions, withdraw_own_deletion
from tenants.services.providers import offered_providers
from tenants.services.sessions import end_other_sessions, end_own_session, own_sessions
from tenants.services.sign_in import choose_membership, only_tenant
from tenants.services.sign_in_rules import SecondFactorRequired


class SignInView(LoginView):
    """The login page; too many wrong passwords answer 429 and say when to come back."""

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Who is signed in already goes on; who is, and has no way in, is told why."""
        user = request.user
        if isinstance(user, User) and request.method == "GET":
            try:
                choose_membership(user=user, session=request.session, tenant_slug=None)
            except SecondFactorRequired:
                return redirect("mfa_index")
            except PermissionDenied as refusal:
                if not user.is_staff:
                    words = {
                        "reason": for_reader(refusal.message),
                        "suspended": isinstance(refusal, TenantSuspended),
                        "deletions": find_own_deletions(user=user, session=request.session),
                    }
                    return render(request, "account/no_entry.html", words, status=403)
        response: HttpResponseBase = super().dispatch(request, *args, **kwargs)
        return response

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """With the providers of the organisation that `?tenant=` names."""
        words: dict[str, Any] = super().get_context_data(**kwargs)
        slug = self.request.GET.get("tenant", "")
        words["offers"] = offered_providers(tenant_slug=slug) if slug and may_look(self.request) else ()
        words["next"] = self.request.GET.get("next", "")
        return words

    def form_invalid(self, form: forms.Form) -> HttpResponse:
        """The page with what was wrong."""
        response: HttpResponse = super().form_invalid(form)
        for error in form.non_field_errors().as_data():
            if isinstance(error, TooManyAttempts):
                response.status_code = 429
                response["Retry-After"] = str(error.wait_s)
        return response


class SecondFactorsView(IndexView):
    """What one has set up; says so when one's tenant asks for more."""

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """With `second_factor_wanted`."""
        words: dict[str, Any] = super().get_context_data(**kwargs)
        try:
            choose_membership(user=_user(self.request), session=self.request.session, tenant_slug=None)
        except SecondFactorRequired:
            words["second_factor_wanted"] = True
        except PermissionDenied:
            pass
        return words


class TurnOnAppView(ActivateTOTPView):
    """Setting up an authenticator app: its first code counts for the session at hand."""

    def form_valid(self, form: Any) -> HttpResponse:
        """Turn it on."""
        response: HttpResponse = super().form_valid(form)
        record_authentication(self.request, _user(self.request), "mfa", type="totp", reauthenticated=True)
        return response


class AddKeyView(AddWebAuthnView):
    """Adding a passkey: it was used just now, which counts for the session at hand."""

    def form_valid(self, form: Any) -> HttpResponse:
        """Add it."""
        response: HttpResponse = super().form_valid(form)
        record_authentication(self.request, _user(self.request), "mfa", type="webauthn", reauthenticated=True)
        return response


@never_cache
@login_required
@require_GET
def show_sessions(request: HttpRequest) -> HttpResponse:
    """Where one is signed in."""
    sessions = own_sessions(
        user_id=_user(request).id, session_key=_key(request), only_tenant=only_tenant(request.session)
    )
    words: dict[str, Any] = {
        "sessions": sessions,
        "others": any(not each.current for each in sessions),
        "deletions": find_own_deletions(user=_user(request), session=request.session),
    }
    return render(request, "account/sessions.html", words)


@login_required
@require_POST
def end_sessions(request: HttpRequest) -> HttpResponse:
    """End the session that is named, or all others."""
    user, only = _user(request), only_tenant(request.session)
    named = request.POST.get("session", "")
    if named == "others":
        ended = end_other_sessions(user_id=user.id, session_key=_key(request), only_tenant=only)
        messages.info(request, f"Signed out on {ended} other {'device' if ended == 1 else 'devices'}.")
        return redirect("account_sessions")
    session_id = parse_uuid(named)
    try:
        if session_id is not None:
            end_own_session(user_id=user.id, session_id=session_id, only_tenant=only)
            messages.info(request, "Signed out there.")
    except NotFound:
        messages.info(request, "That session had ended already.")
    return redirect("account_sessions")


@never_cache
@login_required
@require_GET
def show_deletions(request: HttpRequest) -> HttpResponse:
    """Tenants of one's own that are to be deleted, while one may think better of it."""
    found = find_own_deletions(user=_user(request), session=request.session)
    return render(request, "account/deletions.html", {"deletions": found})


@login_required
@require_POST
def withdraw_deletion(request: HttpRequest) -> HttpResponse:
    """Keep the tenant that is named."""
    tenant_id = parse_uuid(request.POST.get("tenant", ""))
    try:
        if tenant_id is None:
            raise NotFound
        kept = withdraw_own_deletion(user=_user(request), session=request.session, tenant_id=tenant_id)
    except SecondFactorRequired:
        return redirect("mfa_index")
    except (NotFound, Conflict) as refusal:
        messages.error(request, for_reader(refusal.message))
        return redirect("account_deletions")
    return render(request, "account/kept.html", {"kept": kept})


def _user(request: HttpRequest) -> User:
    # `login_required` let it pass, and every account is one of ours.
    return cast(User, request.user)


def _key(request: HttpRequest) -> str:
    return request.session.session_key or ""
