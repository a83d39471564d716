"""REST addresses of the console's own subjects, below `/api/v1/`, with and without a trailing slash."""

from django.urls import URLPattern, re_path

from console.api.acts import ActsView

urlpatterns: list[URLPattern] = [
    re_path(r"^acts/?$", ActsView.as_view()),
]
