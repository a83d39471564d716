"""The back-office of models, pools and replicas. Every write goes through the services, as everywhere."""

from collections.abc import Callable
from typing import Any, ClassVar

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.admin import ModelAdmin
from unfold.widgets import UnfoldAdminDecimalFieldWidget, UnfoldAdminPasswordWidget

from inference import selectors
from inference.models import Model, Pool, Replica
from inference.naming import (
    check_model_id,
    check_pool_name,
    check_region,
    check_served_name,
    normal_url,
)
from inference.pricing import show_price
from inference.services import (
    change_model,
    change_pool,
    change_replica,
    create_model,
    create_pool,
    delete_model,
    delete_pool,
    delete_replica,
    register_engine,
)
from inference.types import ModelKind, Tier
from kernel.errors import AtriumError


def _checked(check: Callable[[str], str], value: str) -> str:
    """`value` as the services want it, or the form's own error."""
    try:
        return check(value)
    except AtriumError as error:
        raise ValidationError(error.message) from error


def _price_field() -> forms.DecimalField:
    return forms.DecimalField(
        min_value=0,
        max_digits=12,
        decimal_places=3,
        initial=0,
        help_text="per million tokens",
        widget=UnfoldAdminDecimalFieldWidget,
    )


class ModelForm(forms.ModelForm[Model]):
    """A model, with prices as people say them."""

    input_price = _price_field()
    output_price = _price_field()

    class Meta:
        """The id and the kind of a model stay as they were made."""

        model = Model
        fields: ClassVar = ["model_id", "kind", "tier", "context_length", "dimensions"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Show the prices of the row."""
        super().__init__(*args, **kwargs)
        if self.instance.model_id:
            input_nano, output_nano = selectors.prices_of([self.instance])[self.instance.pk]
            self.initial["input_price"] = show_price(input_nano)
            self.initial["output_price"] = show_price(output_nano)

    def clean_model_id(self) -> str:
        """A well-formed id."""
        return _checked(check_model_id, self.cleaned_data["model_id"])


class PoolForm(forms.ModelForm[Pool]):
    """A pool of OpenAI-compatible engines."""

    class Meta:
        """The name of a pool stays as it was made."""

        model = Pool
        fields: ClassVar = ["name", "region"]

    def clean_name(self) -> str:
        """A well-formed name."""
        return _checked(check_pool_name, self.cleaned_data["name"])

    def clean_region(self) -> str:
        """A well-formed region."""
        return _checked(check_region, self.cleaned_data["region"])


class ReplicaForm(forms.ModelForm[Replica]):
    """A replica. The engine's key is written, never shown."""

    new_api_key = forms.CharField(
        required=False,
        max_length=1000,
        widget=UnfoldAdminPasswordWidget,
        help_text="The engine's own key; empty leaves what is stored.",
    )

    class Meta:
        """Pool, model and URL name the replica and stay as they were made."""

        model = Replica
        fields: ClassVar = [
            "pool",
            "model",
            "url",
            "served_name",
            "max_concurrency",
            "region",
            "draining",
            "vllm",
        ]

    def clean_url(self) -> str:
        """The OpenAI base URL."""
        return _checked(normal_url, self.cleaned_data["url"])

    def clean_region(self) -> str:
        """A well-formed region."""
        return _checked(check_region, self.cleaned_data["region"])

    def clean_served_name(self) -> str:
        """A well-formed name."""
        return _checked(check_served_name, self.cleaned_data["served_name"])

    def clean_pool(self) -> Pool:
        """Not one of the built-in pools."""
        pool: Pool = self.cleaned_data["pool"]
        _checked(check_pool_name, pool.name)
        return pool

    def clean_model(self) -> Model:
        """Not one of the built-in models."""
        model: Model = self.cleaned_data["model"]
        _checked(check_model_id, model.model_id)
        return model


class _ServiceAdmin(ModelAdmin):
    """What the three have in common: fixed names, deletion one by one through the services."""

    fixed: ClassVar[tuple[str, ...]] = ()

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """What names a row cannot be changed later."""
        return self.fixed if obj is not None else ()

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """Delete the chosen rows one by one."""
        for row in queryset:
            self.delete_model(request, row)


@admin.register(Model)
class ModelPages(_ServiceAdmin):
    """Models."""

    form = ModelForm
    fixed = ("model_id", "kind")
    list_display = ("model_id", "kind", "tier", "context_length", "built_in", "created_at")
    list_filter = ("kind", "tier", "built_in")
    search_fields = ("model_id",)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Built-in models are as they are."""
        return super().has_change_permission(request, obj) and not (obj is not None and obj.built_in)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Only models that nothing serves."""
        free = obj is None or not (obj.built_in or obj.replicas.exists())
        return super().has_delete_permission(request, obj) and free

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Make or change the model."""
        told = {
            "tier": Tier(obj.tier),
            "context_length": obj.context_length,
            "dimensions": obj.dimensions,
            "input_price": form.cleaned_data["input_price"],
            "output_price": form.cleaned_data["output_price"],
        }
        if change:
            change_model(model_id=obj.model_id, **told)
        else:
            view = create_model(model_id=obj.model_id, kind=ModelKind(obj.kind), **told)
            obj.pk = view.uuid

    def delete_model(self, request: HttpRequest, obj: Model) -> None:
        """Delete the model."""
        delete_model(model_id=obj.model_id)


@admin.register(Pool)
class PoolPages(_ServiceAdmin):
    """Pools."""

    form = PoolForm
    fixed = ("name",)
    list_display = ("name", "engine", "region", "created_at")
    list_filter = ("engine", "region")
    search_fields = ("name",)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Only pools without replicas."""
        return super().has_delete_permission(request, obj) and (obj is None or not obj.replicas.exists())

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Make or change the pool."""
        if change:
            change_pool(pool_id=obj.id, region=obj.region)
        else:
            obj.pk = create_pool(name=obj.name, region=obj.region).id

    def delete_model(self, request: HttpRequest, obj: Pool) -> None:
        """Delete the pool."""
        delete_pool(pool_id=obj.id)


@admin.register(Replica)
class ReplicaPages(_ServiceAdmin):
    """Replicas."""

    form = ReplicaForm
    fixed = ("pool", "model", "url")
    list_display = ("url", "model", "pool", "max_concurrency", "region", "draining", "created_at")
    list_filter = ("draining", "pool", "region")
    search_fields = ("url", "model__model_id", "pool__name")
    list_select_related = ("model", "pool")

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Built-in replicas are as they are."""
        return super().has_change_permission(request, obj) and (obj is None or bool(obj.url))

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Built-in replicas stay."""
        return super().has_delete_permission(request, obj) and (obj is None or bool(obj.url))

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Register the engine, or change its replica."""
        key = form.cleaned_data.get("new_api_key") or None
        if not change:
            made = register_engine(pool=obj.pool.name, model=obj.model.model_id, url=obj.url)
            obj.pk = made.id
        change_replica(
            replica_id=obj.id,
            served_name=obj.served_name,
            max_concurrency=obj.max_concurrency,
            region=obj.region,
            draining=obj.draining,
            vllm=obj.vllm,
            api_key=key,
        )

    def delete_model(self, request: HttpRequest, obj: Replica) -> None:
        """Forget the replica."""
        delete_replica(replica_id=obj.id)
