"""Fills in the days of last use, some keys at a time: each batch is a transaction of its own.

What was done stays done, so it can be stopped and run again. Requests go on meanwhile.
"""

from datetime import UTC

from django.db import migrations
from django.db.models.functions import TruncDate

BATCH = 5000  # keys in one statement


def fill_in(apps, schema_editor):
    for name in ('PersonalAccessToken', 'ProjectKey'):
        keys = apps.get_model('apikeys', name)._base_manager.using(schema_editor.connection.alias)
        left = keys.filter(last_used_at__isnull=False, last_used_on=None)
        last = 0
        while pks := left.filter(pk__gt=last).order_by('pk').values_list('pk', flat=True)[:BATCH]:
            first, last = last, pks[len(pks) - 1]
            left.filter(pk__gt=first, pk__lte=last).update(
                last_used_on=TruncDate('last_used_at', tzinfo=UTC)
            )


class Migration(migrations.Migration):

    atomic = False

    dependencies = [
        ('apikeys', '0010_last_used_on'),
    ]

    operations = [
        migrations.RunPython(fill_in, migrations.RunPython.noop),
    ]
