"""A price says itself since when it holds, so that it can be set ahead. Until now that was when it was written down."""

from django.apps.registry import Apps
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.models import F
from django.db.models.functions import Now


def tell_since_when(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Every price so far holds since it was written down."""
    apps.get_model("inference", "PriceChange").objects.update(valid_from=F("created_at"))


class Migration(migrations.Migration):
    dependencies = [
        ("inference", "0004_what_models_take"),
    ]

    operations = [
        migrations.AddField(
            model_name="pricechange",
            name="valid_from",
            field=models.DateTimeField(db_default=Now()),
        ),
        migrations.RunPython(tell_since_when, migrations.RunPython.noop, elidable=True),
    ]
