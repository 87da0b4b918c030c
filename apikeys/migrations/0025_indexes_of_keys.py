from django.conf import settings
from django.db import migrations, models

from apikeys.databases.indexes import AddIndexWithoutLock


class Migration(migrations.Migration):
    # A site may have millions of keys. PostgreSQL builds the indexes while requests go on.
    atomic = False

    dependencies = [
        ('apikeys', '0024_rejections'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        AddIndexWithoutLock(
            model_name='personalaccesstoken',
            index=models.Index(fields=['made_with_token'], name='apikeys_tokens_made_with'),
        ),
        AddIndexWithoutLock(
            model_name='personalaccesstoken',
            index=models.Index(fields=['lineage'], name='apikeys_tokens_lineage'),
        ),
        AddIndexWithoutLock(
            model_name='personalaccesstoken',
            index=models.Index(fields=['description'], name='apikeys_tokens_description', opclasses=['varchar_pattern_ops']),
        ),
        AddIndexWithoutLock(
            model_name='personalaccesstoken',
            index=models.Index(fields=['paused_at'], name='apikeys_tokens_paused'),
        ),
        AddIndexWithoutLock(
            model_name='personalaccesstoken',
            index=models.Index(fields=['paused_by'], name='apikeys_tokens_paused_by'),
        ),
        AddIndexWithoutLock(
            model_name='projectkey',
            index=models.Index(fields=['made_with_token'], name='apikeys_keys_made_with'),
        ),
        AddIndexWithoutLock(
            model_name='projectkey',
            index=models.Index(fields=['lineage'], name='apikeys_keys_lineage'),
        ),
        AddIndexWithoutLock(
            model_name='projectkey',
            index=models.Index(fields=['description'], name='apikeys_keys_description', opclasses=['varchar_pattern_ops']),
        ),
        AddIndexWithoutLock(
            model_name='projectkey',
            index=models.Index(fields=['paused_at'], name='apikeys_keys_paused'),
        ),
        AddIndexWithoutLock(
            model_name='projectkey',
            index=models.Index(fields=['paused_by'], name='apikeys_keys_paused_by'),
        ),
        AddIndexWithoutLock(
            model_name='projectkey',
            index=models.Index(fields=['trust_anchor'], name='apikeys_keys_trust'),
        ),
    ]
