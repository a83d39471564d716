"""REST addresses of inference, below `/api/v1/`, with and without a trailing slash."""

from django.urls import URLPattern, re_path

from inference.views.engines import EnginesView, EngineTestView, ReplicaTestView
from inference.views.models import ModelsView, OneModelView, OnePriceView, PricesView, SavingsView
from inference.views.pools import AllReplicasView, OnePoolView, OneReplicaView, PoolsView, ReplicasView
from inference.views.sources import PoolSourceLookView, PoolSourceView

urlpatterns: list[URLPattern] = [
    re_path(r"^models/?$", ModelsView.as_view()),
    re_path(r"^models/(?P<model_id>.+?)/?$", OneModelView.as_view()),
    re_path(r"^model-prices/?$", PricesView.as_view()),
    re_path(r"^model-prices/(?P<price_id>[^/]+)/?$", OnePriceView.as_view()),
    re_path(r"^model-savings/?$", SavingsView.as_view()),
    re_path(r"^engines/?$", EnginesView.as_view()),
    re_path(r"^engines/test/?$", EngineTestView.as_view()),
    re_path(r"^pools/?$", PoolsView.as_view()),
    re_path(r"^pools/(?P<pool_id>[^/]+)/?$", OnePoolView.as_view()),
    re_path(r"^pools/(?P<pool_id>[^/]+)/source/?$", PoolSourceView.as_view()),
    re_path(r"^pools/(?P<pool_id>[^/]+)/source/look/?$", PoolSourceLookView.as_view()),
    re_path(r"^pools/(?P<pool_id>[^/]+)/replicas/?$", ReplicasView.as_view()),
    re_path(r"^pools/(?P<pool_id>[^/]+)/replicas/(?P<replica_id>[^/]+)/?$", OneReplicaView.as_view()),
    re_path(r"^replicas/?$", AllReplicasView.as_view()),
    re_path(r"^replicas/(?P<replica_id>[^/]+)/test/?$", ReplicaTestView.as_view()),
]
