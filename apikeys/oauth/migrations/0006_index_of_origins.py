from django.db import migrations, models
from oauth2_provider.settings import oauth2_settings

from apikeys.databases.indexes import AddIndexWithoutLock


class Migration(migrations.Migration):
    # There is a row for each access token. PostgreSQL builds the index while requests go on.
    atomic = False

    dependencies = [
        ('apikeys_oauth', '0005_consent_and_clients'),
        migrations.swappable_dependency(oauth2_settings.ACCESS_TOKEN_MODEL),
    ]

    operations = [
        AddIndexWithoutLock(
            model_name='tokenorigin',
            index=models.Index(fields=['first'], name='apikeys_origins_first'),
        ),
    ]
