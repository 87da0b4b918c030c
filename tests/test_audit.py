"""The audit log records each change of a key once, with user and IP address, without secrets."""

import csv
import io
import json
from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import RequestFactory
from django.utils import timezone

from apikeys import audit, grants, lifecycle, signals, usage
from apikeys.limits import networks
from apikeys.models import AppendOnlyError, AuditEvent, PersonalAccessToken, ProjectKey
from apikeys.verify import verify
from tests.factories import MembershipFactory, ProjectFactory, UserFactory, mint_key, mint_pat

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def nothing_noted(db):
    """Forget pending uses, because keys of other tests had the same primary keys."""
    usage._pending.clear()


def asked(ip="198.51.100.7"):
    return RequestFactory().get("/", REMOTE_ADDR=ip)


def use(minted, ip="198.51.100.7"):
    verify(minted.token, asked(ip))


def told(key):
    """Return the events of a key, oldest first."""
    return list(AuditEvent.objects.filter(public_id=key.public_id).order_by("pk"))


def names(key):
    return [event.event for event in told(key)]


def test_every_change_of_a_key_is_logged():
    ada = UserFactory(username="ada")
    with networks.asked_from(asked()):
        minted = mint_pat(ada, by=ada, name="laptop")
        lifecycle.edit(minted.key, name="desktop", by=ada)
        rotated = lifecycle.rotate(minted.key, by=ada)
        lifecycle.revoke(rotated.key, by=ada, reason="Lost.")

    assert names(minted.key) == ["minted", "edited", "rotated"]
    assert names(rotated.key) == ["minted", "revoked"]
    for event in [*told(minted.key), *told(rotated.key)]:
        assert (event.by, event.by_pk, event.ip) == ("ada", str(ada.pk), "198.51.100.7")
        assert (event.owner, event.owner_pk) == ("ada", str(ada.pk))
    first, edited, rotation = told(minted.key)
    assert first.changes["scopes"] == ["payments:read"]
    assert edited.changes == {"name": {"before": "laptop", "after": "desktop"}}
    assert rotation.changes["successor"] == rotated.key.public_id
    assert told(rotated.key)[0].changes["replaces"] == minted.key.public_id
    assert told(rotated.key)[1].changes == {"reason": "Lost."}


def test_event_names_the_credential():
    ada = MembershipFactory(role="owner").user
    maker = mint_pat(ada, scopes=["keys:write", "payments:read"])
    access = verify(maker.token)
    within = grants.for_tokens(ada, access)
    made = mint_pat(ada, by=ada, within=within)
    lifecycle.revoke(maker.key, by=ada)

    assert told(made.key)[0].using == maker.key.public_id
    assert names(made.key) == ["minted", "revoked"]


def test_approval_is_logged():
    key = mint_key().key
    ProjectKey.objects.filter(pk=key.pk).update(is_pending=True)
    admin = UserFactory(username="root")
    lifecycle.approve(key, by=admin)

    assert [(event.event, event.by) for event in told(key)][1:] == [("approved", "root")]


def test_failed_change_is_not_logged():
    minted = mint_pat()

    def fail(**kwargs):
        raise RuntimeError

    signals.key_revoked.connect(fail)
    try:
        with pytest.raises(RuntimeError):
            lifecycle.revoke(minted.key)
    finally:
        signals.key_revoked.disconnect(fail)

    assert names(minted.key) == ["minted"]


def test_first_use_is_logged_once_and_not_during_the_request(django_assert_num_queries):
    minted = mint_pat()
    with django_assert_num_queries(1):
        use(minted)
    assert names(minted.key) == ["minted"]
    usage.flush()
    use(minted)
    usage.flush()

    assert names(minted.key) == ["minted", "first_used"]
    assert told(minted.key)[1].ip == "198.51.100.7"


def test_new_network_is_logged_once():
    minted = mint_key()
    for ip in ("198.51.100.7", "198.51.100.99"):  # both in the same /24
        use(minted, ip)
    usage.flush()
    for ip in ("203.0.113.5", "203.0.113.6", "2001:db8:1:2::3", "2001:db8:1:ff::3"):
        use(minted, ip)
    usage.flush()
    for ip in ("203.0.113.5", "198.51.100.7", "::ffff:203.0.113.9"):
        use(minted, ip)
    usage.flush()

    events = told(minted.key)[1:]
    assert [event.event for event in events] == ["first_used", "new_network", "new_network"]
    assert sorted(e.changes["network"] for e in events[1:]) == ["2001:db8:1::/48", "203.0.113.0/24"]


def test_detected_events_send_signals():
    minted, heard = mint_key(), []

    def hear(sender, key, by, using, at, ip, **kwargs):
        heard.append((sender, key.public_id, ip, kwargs.get("network")))

    for signal in (signals.key_first_used, signals.key_used_from_new_network):
        signal.connect(hear)
    try:
        use(minted)
        usage.flush()
        use(minted, "203.0.113.5")
        usage.flush()
        use(minted, "203.0.113.5")
        usage.flush()
    finally:
        for signal in (signals.key_first_used, signals.key_used_from_new_network):
            signal.disconnect(hear)

    public_id = minted.key.public_id
    assert heard == [
        (ProjectKey, public_id, "198.51.100.7", None),
        (ProjectKey, public_id, "203.0.113.5", "203.0.113.0/24"),
    ]


def test_event_of_another_process_is_not_logged_again():
    first, second = mint_pat(), mint_pat()
    found = [
        (m.key, audit.compose("first_used", m.key, at=timezone.now(), once=f"first_used:x:{n}"))
        for n, m in enumerate([first, second])
    ]
    audit.write("first_used", first.key, at=timezone.now(), once="first_used:x:0")

    assert [key for key, _row in audit.write_once(found)] == [second.key]
    assert names(first.key) == names(second.key) == ["minted", "first_used"]


def test_events_remain_after_key_and_owner_are_deleted():
    project = ProjectFactory(slug="closed")
    key = mint_key(project).key
    public_id = key.public_id
    project.delete()

    events = AuditEvent.objects.filter(public_id=public_id).order_by("pk")
    assert [(e.event, e.owner) for e in events] == [("minted", "closed"), ("deleted", "closed")]


def test_events_cannot_be_changed_or_deleted():
    event = told(mint_pat().key)[0]
    event.name = "forged"
    everything = AuditEvent.objects.all()
    for attempt in (
        event.save,
        event.delete,
        everything.delete,
        AuditEvent._base_manager.all().delete,
        lambda: everything.update(name="forged"),
        lambda: AuditEvent.objects.bulk_update([event], ["name"]),
        lambda: AuditEvent.objects.update_or_create(pk=event.pk, defaults={"name": "forged"}),
    ):
        with pytest.raises(AppendOnlyError):
            attempt()
    event.refresh_from_db()
    assert event.name == "ci"


def test_secret_in_a_text_is_redacted():
    minted = mint_pat()
    said = {"note": [f"I pasted {minted.token} in a chat"]}
    audit.write("edited", minted.key, changes=said)

    assert minted.token[27:80] not in json.dumps(told(minted.key)[-1].changes)
    assert minted.key.public_id in told(minted.key)[-1].changes["note"][0]


def test_events_contain_no_secret_and_no_hash():
    minted = mint_pat()
    use(minted)
    usage.flush()
    rotated = lifecycle.rotate(minted.key)
    lifecycle.revoke(rotated.key)
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM apikeys_auditevent")
        text = repr(cursor.fetchall())

    for each in (minted, rotated):
        assert each.key.public_id in text
        assert each.token[-49:-6] not in text
        assert each.key.digest not in text
        assert each.key.root not in text


def test_events_are_filtered_by_owner():
    ada, project = UserFactory(), ProjectFactory()
    pat, key, other = mint_pat(ada).key, mint_key(project).key, mint_pat().key

    assert [e.public_id for e in AuditEvent.objects.of(ada)] == [pat.public_id]
    assert [e.public_id for e in AuditEvent.objects.of(project)] == [key.public_id]
    assert other.public_id not in [e.public_id for e in AuditEvent.objects.of(ada)]


def run(*arguments):
    out = io.StringIO()
    call_command("apikeys", *arguments, stdout=out)
    return out.getvalue()


def test_export_as_json_lines():
    ada = UserFactory(username="ada")
    minted = mint_pat(ada, by=ada)
    lifecycle.revoke(minted.key, by=ada, reason="Done.")
    lines = [json.loads(line) for line in run("audit", "--format", "jsonl").splitlines()]

    assert [line["event"] for line in lines] == ["minted", "revoked"]
    assert list(lines[1]) == list(audit.FIELDS)
    assert lines[1] | {"id": 0, "at": ""} == {
        "id": 0, "at": "", "event": "revoked", "kind": "personal_access_token",
        "key": minted.key.public_id, "name": "ci", "owner": "ada", "by": "ada", "using": None,
        "instance": None, "authorized_by": None,
        "ip": None, "changes": {"reason": "Done."},
    }  # fmt: skip


def test_csv_export_escapes_formulas():
    mint_pat(name='=HYPERLINK("http://evil.example")')
    rows = list(csv.DictReader(io.StringIO(run("audit", "--format", "csv"))))

    assert tuple(rows[0]) == audit.FIELDS
    assert rows[0]["name"] == '\'=HYPERLINK("http://evil.example")'
    assert json.loads(rows[0]["changes"])["scopes"] == ["payments:read"]


def test_export_is_filtered():
    ada, project = UserFactory(username="ada"), ProjectFactory(slug="engine")
    pat, key = mint_pat(ada).key, mint_key(project).key
    lifecycle.revoke(key)

    def keys(*arguments):
        lines = run("audit", "--format", "jsonl", *arguments).splitlines()
        return [json.loads(line)["key"] for line in lines]

    assert keys("--user", "ada") == [pat.public_id]
    assert keys("--project", "engine") == [key.public_id] * 2
    assert keys("--key", pat.public_id) == [pat.public_id]
    assert keys("--event", "revoked") == [key.public_id]
    assert keys("--since", (timezone.now() + timedelta(hours=1)).isoformat()) == []


def test_export_is_filtered_by_the_credential_that_was_used():
    ada = UserFactory(username="ada")
    thief = mint_pat(ada, scopes=["keys:write", "payments:read"])
    within = grants.for_tokens(ada, verify(thief.token))
    made = mint_pat(ada, by=ada, within=within).key
    mint_pat(ada, by=ada)

    def done(public_id):
        lines = run("audit", "--format", "jsonl", "--using", public_id).splitlines()
        return [(each["event"], each["key"]) for each in map(json.loads, lines)]

    of_thief = thief.key.public_id
    assert done(of_thief) == done(f"acme_pat_{of_thief}") == [("minted", made.public_id)]
    assert done(made.public_id) == []
    assert made.public_id in run("audit", "--using", of_thief)
    with pytest.raises(CommandError, match="secret"):
        done(thief.token)


@pytest.mark.parametrize(
    "option", ["--user", "--project", "--key", "--using", "--since", "--until"]
)
def test_an_empty_option_is_refused_and_does_not_export_everything(option):
    mint_pat()
    with pytest.raises(CommandError):
        run("audit", "--format", "jsonl", f"{option}=")


def test_export_is_limited_to_the_last_days():
    key = mint_pat().key
    for days in (1, 9):
        at = timezone.now() - timedelta(days=days)
        audit.compose(AuditEvent.Event.NOTIFIED, key, at=at, changes={"days": days}).save()

    def days(*arguments):
        lines = run("audit", "--event", "notified", "--format", "jsonl", *arguments).splitlines()
        return [json.loads(line)["changes"]["days"] for line in lines]

    assert days("--since", "2d") == [1]
    assert days("--until", "1w") == [9]
    assert days("--since", "1y", "--until", "12h") == [1, 9]
    assert days("--since", "12h") == []


def test_command_prints_events_for_people():
    ada = UserFactory(username="ada")
    minted = mint_pat(ada, by=ada)

    assert minted.key.public_id in run("audit")
    assert PersonalAccessToken.objects.count() == 1
