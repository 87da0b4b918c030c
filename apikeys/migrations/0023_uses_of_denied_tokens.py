from django.db import migrations, models


def forget(apps, schema_editor):
    """Delete the rows that the earlier constraint does not allow, before it comes back."""
    rows = apps.get_model('apikeys', 'EndedUse').objects.using(schema_editor.connection.alias)
    rows.exclude(project_pk='').delete()


class Migration(migrations.Migration):

    dependencies = [
        ('apikeys', '0022_reported_ends'),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name='endeduse',
            name='apikeys_ended_use_once',
        ),
        migrations.AddField(
            model_name='endeduse',
            name='project_pk',
            field=models.CharField(blank=True, db_default='', default='', max_length=64),
        ),
        migrations.AddConstraint(
            model_name='endeduse',
            constraint=models.UniqueConstraint(fields=('kind', 'public_id', 'project_pk'), name='apikeys_ended_use_once'),
        ),
        migrations.RunPython(migrations.RunPython.noop, forget),
    ]
