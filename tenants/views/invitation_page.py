"""Pages of the person invited: `/accounts/invitation/` takes the token, `…/accept/` makes them a member.

The token stands behind the `#` of the link, so neither a log, a proxy nor a `Referer` sees it; a script of ours posts it. From
then on the session remembers the token's hash, and the token itself is nowhere.
"""

from typing import Any

from allauth.core import ratelimit
from django import forms
from django.conf import settings
from django.contrib.auth import login
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from kernel.errors import AtriumError, BadInput, Conflict, LimitReached, NotFound
from substrate.wording import for_reader
from tenants.models import Membership, User
from tenants.services import find_offer, join_as_known_person, join_as_new_person
from tenants.services.sessions import note_browser
from tenants.services.sign_in import SESSION_MEMBERSHIP
from tenants.services.sign_in_rules import own_password
from tenants.services.users import check_password_rules, set_password
from tenants.sign_in_types import OfferedMembership
from tenants.types import NAME_LENGTH, Role

SESSION_INVITATION = "atrium_invitation"


class NewPersonForm(forms.Form):
    """What a person without an account says."""

    name = forms.CharField(
        max_length=NAME_LENGTH,
        label=_("Your name"),
        widget=forms.TextInput(attrs={"autocomplete": "name"}),
    )
    password = forms.CharField(
        max_length=256,
        strip=False,
        label=_("Choose a password"),
        help_text=_("At least 10 characters, and not a common one."),
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )


class OwnPasswordForm(forms.Form):
    """For somebody whose password an administrator chose."""

    password = forms.CharField(
        max_length=256,
        strip=False,
        label="Choose a password of your own",
        help_text="The one you have was given by an administrator of another organisation, and opens that one alone.",
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def open_invitation(request: HttpRequest) -> HttpResponse:
    """The page a link opens: it posts the token it finds behind the `#`, or asks for the link."""
    if request.method != "POST":
        return render(request, "account/invitation.html", {})
    if not ratelimit.consume(request, action="invitation"):
        return _refused(request, LimitReached("Too many tries. Wait a minute, then open the link again."))
    given = request.POST.get("token", "").strip()
    try:
        # A person may paste the whole link.
        offer = find_offer(token=given.rpartition("#")[2] or "-")
    except AtriumError as error:
        return _refused(request, error)
    request.session[SESSION_INVITATION] = offer.token_hash
    return redirect("invitation_accept")


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def accept_invitation(request: HttpRequest) -> HttpResponse:
    """What is offered, and the one way to take it: a new account, or the consent of the person signed in."""
    hashed = request.session.get(SESSION_INVITATION)
    try:
        if not hashed:
            raise NotFound("No invitation is open here. Open the link of your invitation again.")
        offer = find_offer(hashed=hashed)
        if request.user.is_authenticated:
            return _accept_as_known(request, offer)
        if offer.known:
            return _page(request, offer, "sign_in")
        return _accept_as_new(request, offer)
    except AtriumError as error:
        request.session.pop(SESSION_INVITATION, None)
        return _refused(request, error)


def _accept_as_known(request: HttpRequest, offer: OfferedMembership) -> HttpResponse:
    user = request.user
    if not isinstance(user, User) or user.email != offer.email:
        return _page(request, offer, "other_address")
    given = user.password_given_by is not None
    form = OwnPasswordForm(request.POST if request.method == "POST" else None) if given else None
    if request.method != "POST" or (form is not None and not form.is_valid()):
        return _page(request, offer, "consent", form=form)
    if form is not None:
        password = form.cleaned_data["password"]
        try:
            check_password_rules(password, email=user.email)
        except BadInput as error:
            form.add_error("password", error.message)
            return _page(request, offer, "consent", form=form)
    membership = join_as_known_person(hashed=offer.token_hash, user_id=user.id)
    if form is not None:
        # The invitation came to the address, so it is theirs: from now on the account opens all their tenants.
        own_password(user=membership.user)
        set_password(user_id=user.id, password=password)
        membership.user.refresh_from_db()
        request.session.flush()
    return _enter(request, membership)


def _accept_as_new(request: HttpRequest, offer: OfferedMembership) -> HttpResponse:
    form = NewPersonForm(request.POST if request.method == "POST" else None)
    if request.method != "POST" or not form.is_valid():
        return _page(request, offer, "new", form=form)
    try:
        membership = join_as_new_person(
            hashed=offer.token_hash, name=form.cleaned_data["name"], password=form.cleaned_data["password"]
        )
    except BadInput as error:
        form.add_error(error.param if error.param in form.fields else None, error.message)
        return _page(request, offer, "new", form=form)
    except Conflict as error:
        if error.code != "account_exists":
            raise
        return _page(request, offer, "sign_in")
    return _enter(request, membership)


def _enter(request: HttpRequest, membership: Membership) -> HttpResponse:
    """Sign in under a new session key, bound to the new membership."""
    login(request, membership.user, backend=settings.AUTHENTICATION_BACKENDS[0])
    request.session.pop(SESSION_INVITATION, None)
    note_browser(
        session=request.session,
        address=request.META.get("REMOTE_ADDR", ""),
        device=request.headers.get("User-Agent", ""),
    )
    request.session[SESSION_MEMBERSHIP] = str(membership.id)
    return redirect("/console/" if Role(membership.role).rank <= Role.ADMIN.rank else "/")


def _page(
    request: HttpRequest, offer: OfferedMembership, stage: str, *, form: forms.Form | None = None
) -> HttpResponse:
    words: dict[str, Any] = {"offer": offer, "stage": stage, "form": form}
    return render(request, "account/invitation_accept.html", words)


def _refused(request: HttpRequest, error: AtriumError) -> HttpResponse:
    words = {"reason": for_reader(error.message), "code": error.code}
    return render(request, "account/invitation_refused.html", words, status=error.status)
