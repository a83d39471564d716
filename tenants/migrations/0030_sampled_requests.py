from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("tenants", "0029_keys_by_their_end"),
    ]

    operations = [
        migrations.AlterField(
            model_name="requesttrace",
            name="state",
            field=models.CharField(
                choices=[
                    ("slow", "slow"),
                    ("failed", "failed"),
                    ("refused", "refused"),
                    ("sampled", "sampled"),
                ],
                max_length=16,
            ),
        ),
    ]
