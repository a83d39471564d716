"""REST addresses of the console's own subjects, below `/api/v1/`, with and without a trailing slash."""

from django.urls import URLPattern

urlpatterns: list[URLPattern] = []
