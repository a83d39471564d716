from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("tenants", "0024_webhooks"),
    ]

    operations = [
        migrations.AddField(
            model_name="tenantdeletion",
            name="by_member",
            field=models.BooleanField(db_default=False, default=False),
        ),
    ]
