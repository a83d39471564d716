"""The models that come with Atrium, and the embedding endpoint that the environment names."""

from django.conf import settings
from django.db import transaction

from inference.embedders import DIMENSIONS
from inference.models import Model, Pool, Replica
from inference.naming import EMBEDDING_MODEL, EXTRACTIVE_MODEL
from inference.services.engines import register_engine
from inference.types import ModelKind
from substrate.changes import record_change

# How many calls of a built-in model an installation runs at once. Quoting costs microseconds, embedding a core.
_CONCURRENCY = {EXTRACTIVE_MODEL: 256, EMBEDDING_MODEL: 16}
_ENGINES = {EXTRACTIVE_MODEL: "extractive", EMBEDDING_MODEL: "embedding"}
_KINDS = {EXTRACTIVE_MODEL: ModelKind.CHAT, EMBEDDING_MODEL: ModelKind.EMBEDDING}


def ensure_built_in_models() -> None:
    """Make the rows of `atrium-extractive` and `atrium-embedding` where they are missing. Safe to run at any time."""
    with transaction.atomic():
        for model_id, kind in _KINDS.items():
            model, made_model = Model.objects.get_or_create(
                model_id=model_id,
                defaults={
                    "kind": kind.value,
                    "built_in": True,
                    "dimensions": DIMENSIONS if kind is ModelKind.EMBEDDING else 0,
                },
            )
            pool, _ = Pool.objects.get_or_create(name=model_id, defaults={"engine": _ENGINES[model_id]})
            _, made_replica = Replica.objects.get_or_create(
                pool=pool,
                model=model,
                url="",
                defaults={"served_name": model_id, "max_concurrency": _CONCURRENCY[model_id], "vllm": False},
            )
            if made_model or made_replica:
                record_change(kind="model", object_id=model.id)


def ensure_configured_embeddings() -> None:
    """Register the endpoint of `ATRIUM_EMBEDDINGS_URL` as the pool `embeddings`; nothing when it is not set.

    Other endpoints of that pool for the same model are removed: the environment names the one that is meant.
    Raises BadInput.
    """
    environment = settings.ATRIUM
    if not environment.embeddings_url:
        return
    with transaction.atomic():
        kept = register_engine(
            pool="embeddings",
            model=environment.embeddings_model,
            url=environment.embeddings_url,
            kind=ModelKind.EMBEDDING,
            api_key=environment.embeddings_api_key,
            vllm=False,
        )
        others = Replica.objects.filter(pool__name="embeddings", model__model_id=kept.model).exclude(
            id=kept.id
        )
        for replica in others:
            record_change(kind="replica", object_id=replica.id)
            replica.delete()
