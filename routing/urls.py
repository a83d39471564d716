"""REST addresses of routing, below `/api/v1/`, with and without a trailing slash."""

from django.urls import URLPattern, re_path

from routing.scaling_views import ScalingDecisionsView, ScalingPolicyView
from routing.views import ExplainView, PolicyDefaultView, PolicyDocumentView, RulesView, ShadowsView

urlpatterns: list[URLPattern] = [
    re_path(r"^routing/explain/?$", ExplainView.as_view()),
    re_path(r"^routing/rules/?$", RulesView.as_view()),
    re_path(r"^routing/policy/?$", PolicyDocumentView.as_view()),
    re_path(r"^routing/default/?$", PolicyDefaultView.as_view()),
    re_path(r"^routing/shadows/?$", ShadowsView.as_view()),
    re_path(r"^pools/(?P<pool_id>[^/]+)/scaling/?$", ScalingPolicyView.as_view()),
    re_path(r"^pools/(?P<pool_id>[^/]+)/scaling/decisions/?$", ScalingDecisionsView.as_view()),
]
