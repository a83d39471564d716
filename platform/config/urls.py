"""Addresses of the control plane."""

from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path, re_path
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView

from config.views import chat_page, console_page
from tenants.urls import page_urlpatterns, scim_urlpatterns

urlpatterns: list[URLPattern | URLResolver] = [
    path("admin/", admin.site.urls),
    path("accounts/", include(page_urlpatterns)),
    path("accounts/", include("allauth.account.urls")),
    path("accounts/2fa/", include("allauth.mfa.urls")),
    path("api/v1/", include("tenants.urls")),
    path("api/v1/", include("knowledge.urls")),
    path("api/v1/", include("inference.urls")),
    path("api/v1/", include("routing.urls")),
    path("api/v1/", include("assistants.urls")),
    path("api/v1/", include("console.urls")),
    path("api/schema", SpectacularAPIView.as_view(), name="schema"),
    path("api/docs", SpectacularSwaggerSplitView.as_view(url_name="schema"), name="docs"),
    path("scim/v2/<str:slug>/", include(scim_urlpatterns)),
    re_path(r"^console(?:/.*)?$", console_page, name="console"),
    re_path(r"^(?:c|k)(?:/.*)?$", chat_page),
    path("", chat_page, name="chat"),
]

handler404 = "config.views.not_found"
