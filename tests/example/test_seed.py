"""The demo's data, on whatever database the suite runs on."""

from datetime import datetime, timedelta

import pytest
from django.contrib.auth import authenticate
from django.contrib.auth.models import User
from django.db.models import Max, Min, Sum
from django.http import QueryDict
from django.utils import timezone
from oauth2_provider.models import AccessToken, RefreshToken

from apikeys import reach, refusals, token
from apikeys.mail import deadlines
from apikeys.models import (
    AuditEvent,
    Membership,
    PersonalAccessToken,
    ProjectKey,
    ScopeUse,
    get_project_model,
)
from apikeys.oauth import authorizations, identity
from apikeys.refusals import Refused
from apikeys.verify import verify
from apikeys.web.filters import KeyFilter
from apikeys.web.owners import ProjectKeys, Tokens
from example_project.payments import seed
from example_project.payments.models import Payment

DEMO_POLICY = "example_project.payments.policy.DemoPolicy"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.django_db,
    pytest.mark.filterwarnings("ignore:The OAuth 2.0 resource owner password:DeprecationWarning"),
]


@pytest.fixture(autouse=True)
def demo(settings):
    settings.DEMO = True


def test_seeding_twice_is_seeding_once():
    seed.seed()
    once = list(Payment.objects.values()), list(Membership.objects.order_by("pk").values())

    seed.seed()

    assert (
        list(Payment.objects.values()),
        list(Membership.objects.order_by("pk").values()),
    ) == once


def test_one_token_is_denied_in_the_project():
    for _ in range(2):
        seed.seed()
        project = get_project_model().objects.get(slug="analytical-engine")
        (entry,) = reach.listed(project, denied="yes", kind="personal_access_token")
        assert (entry.user, entry.name) == ("charles", "Old laptop")
        assert entry.decision.reason
        assert entry.decision.by.username == "ada"


def test_the_next_payment_is_number_6():
    seed.seed()

    project = get_project_model().objects.get(slug="compiler")
    assert Payment.objects.create(project=project, amount=1).number == 6


def test_an_own_password_of_a_demo_user_gives_way(django_user_model):
    django_user_model.objects.create_user("admin", password="something else")

    seed.seed()

    assert authenticate(username="admin", password="demo-password").is_superuser
    assert authenticate(username="admin", password="something else") is None


def test_the_credentials_reach_analytical_engine_alone():
    seed.seed()
    made = seed.credentials()

    for text in (made.pat.token, made.project_key.token, made.access_token):
        projects = verify(text).projects("payments:write")
        assert [project.slug for project in projects] == ["analytical-engine"]
    assert made.expires_in == 300


def test_new_credentials_end_the_former_ones():
    seed.seed()
    former, now = seed.credentials(), seed.credentials()

    assert verify(now.pat.token)
    for text, refusal in (
        (former.pat.token, refusals.REVOKED_KEY),
        (former.project_key.token, refusals.REVOKED_KEY),
        (former.access_token, refusals.INVALID_TOKEN),
    ):
        with pytest.raises(Refused) as refused:
            verify(text)
        assert refused.value.refusal is refusal


def test_no_refresh_token_is_left_that_nobody_holds():
    seed.seed()
    seed.credentials()

    of_page = {"application__client_id": seed.CLIENT_ID}
    assert AccessToken.objects.filter(**of_page).count() == 1
    assert not RefreshToken.objects.filter(**of_page).exists()


def test_without_demo_mode_there_are_no_credentials(settings):
    seed.seed()
    settings.DEMO = False

    with pytest.raises(RuntimeError, match="invalid_grant"):
        seed.credentials()


def rows(model, owner):
    return model.objects.filter(**{model.OWNER: owner}).order_by("pk")


@pytest.fixture
def seeded():
    seed.seed()
    ada = User.objects.get(username="ada")
    return {
        PersonalAccessToken: ada,
        ProjectKey: get_project_model().objects.get(name="Analytical Engine"),
    }


@pytest.mark.parametrize("model", [PersonalAccessToken, ProjectKey])
def test_every_filter_and_state_finds_a_key(seeded, model):
    user = seeded[PersonalAccessToken]
    owner = Tokens(user) if model is PersonalAccessToken else ProjectKeys(user, seeded[model])
    fields = KeyFilter(QueryDict(), owner).fields
    for name, field in fields.items():
        for value, _label in getattr(field, "choices", ()):
            params = QueryDict(mutable=True)
            params["state"] = "all" if name != "state" else value
            if (name, value) == ("expires", "past-7"):
                params["state"] = "expired"
            params[name] = value
            assert KeyFilter(params, owner).rows(owner.keys()).exists(), (name, value)


@pytest.mark.parametrize("model", [PersonalAccessToken, ProjectKey])
def test_dates_and_numbers_of_a_key_agree(seeded, model):
    now = timezone.now()
    for key in model.objects.all():
        events = list(AuditEvent.objects.filter(public_id=key.public_id).order_by("pk"))
        assert events[0].event == "minted"
        assert events[0].at == key.created_at
        assert [each.at for each in events] == sorted(each.at for each in events)
        assert events[-1].at <= now
        uses = list(ScopeUse.objects.filter(credential=key.public_id))
        counts = key.usage.aggregate(all=Sum("count"), first=Min("day"), last=Max("day"))
        assert sum(use.count for use in uses) == (counts["all"] or 0), key.name
        assert (key.last_used_at is None) == (counts["all"] is None)
        if key.last_used_at is not None:
            (use,) = uses
            ends = min(filter(None, (key.expires_at, key.revoked_at, key.paused_at, now)))
            assert key.created_at <= use.first_used_at <= key.last_used_at <= ends, key.name
            assert use.last_used_at == key.last_used_at
            assert (counts["first"], counts["last"]) == (
                use.first_used_at.date(),
                key.last_used_at.date(),
            )


@pytest.mark.parametrize("model", [PersonalAccessToken, ProjectKey])
def test_every_expired_key_has_its_event(seeded, model):
    now = timezone.now()
    expired = [key for key in model.objects.all() if key.expires_at and key.expires_at <= now]
    assert expired
    for key in expired:
        event = AuditEvent.objects.get(public_id=key.public_id, event="expired")
        assert event.at == key.expires_at
    assert deadlines.notify()["expired"] == 0, "the daily job adds no second event"


def test_rotated_key_says_when_its_secret_ends_and_its_successor_is_used_later(seeded):
    old = ProjectKey.objects.get(name="invoice import", rotated_at__isnull=False)
    new = ProjectKey.objects.get(name="invoice import", rotated_at=None)
    event = AuditEvent.objects.get(public_id=old.public_id, event="rotated")
    assert datetime.fromisoformat(event.changes["expires_at"]) == old.expires_at
    assert event.at == old.rotated_at == new.created_at < old.expires_at
    first = AuditEvent.objects.get(public_id=new.public_id, event="first_used")
    assert first.at - new.created_at > timedelta(hours=1)
    late = AuditEvent.objects.get(public_id=old.public_id, event="used_after_end")
    assert old.last_used_at < old.expires_at < late.at


def test_events_are_at_different_minutes_and_days_have_different_requests(seeded):
    minutes = {at.strftime("%H:%M") for at in AuditEvent.objects.values_list("at", flat=True)}
    assert len(minutes) > 20
    counts = list(
        ProjectKey.objects.get(name="Web shop")
        .usage.order_by("day")
        .values_list("count", flat=True)
    )
    assert len(set(counts)) > 20
    assert max(counts) < 3 * min(counts)
    assert all(counts[:50] != counts[days : days + 50] for days in range(1, 15)), "no pattern"


def test_activity_is_in_the_order_of_its_times(seeded):
    times = list(AuditEvent.objects.order_by("pk").values_list("at", flat=True))
    assert times == sorted(times)


def test_second_run_adds_and_changes_nothing(seeded):
    def state():
        found = [list(model.objects.order_by("pk").values()) for model in seeded]
        return found, list(AuditEvent.objects.order_by("pk").values()), ScopeUse.objects.count()

    before = state()
    seed.seed()
    assert state() == before


def test_application_of_another_user_stays_authorized(seeded):
    """And the demo's own page is not listed for good."""
    ada = seeded[PersonalAccessToken]
    for _ in range(2):
        (each,) = authorizations.live(user=ada)
        assert (each.application.name, each.scopes) == ("Ledger Sync", ("payments:read",))
        assert [project.slug for project in each.projects] == ["analytical-engine"]
        assert timezone.now() - each.since > timedelta(days=39)
        assert not identity.of(each.application).is_verified
        seed.seed()
    authorizations.end(each.application, ada)
    seed.seed()
    assert [row.application.name for row in authorizations.live(user=ada)] == ["Ledger Sync"]


def test_one_project_requires_approval(seeded):
    project = get_project_model().objects.get(slug="compiler")
    waiting = [(each.user, each.name) for each in reach.listed(project, denied="awaiting")]
    assert waiting == [("grace", "Debugger"), ("jean", "Profiler")]
    (entry,) = reach.listed(project, denied="allowed")
    assert (entry.user, entry.name) == ("grace", "Build log")


def test_demo_users_have_several_requests_to_approve_at_once(seeded, client, settings):
    """Three in one project from two people, and two tokens that wait for access."""
    settings.APIKEYS = {**settings.APIKEYS, "POLICY": DEMO_POLICY}
    expected = {
        "ada": {"Key setup": "ada", "Deploy script": "charles", "Staging keys": "charles"},
        "grace": {"Debugger": "grace", "Profiler": "jean"},
    }
    for username, requests in expected.items():
        client.force_login(User.objects.get(username=username))
        response = client.get("/settings/keys/approvals/")
        rows = response.context["rows"]
        found = {
            row["key"].name: str(getattr(row["key"], "user", None) or row["creator"])
            for row in rows
        }
        assert found == requests
        assert response.context["view"].to_decide == len(requests)
        assert all(row["why"] for row in rows if not row["access_to"]), "each has a reason"


def test_one_key_was_rejected(seeded):
    key = ProjectKey.objects.get(is_rejected=True)
    assert (key.name, key.state(), str(key.state_label())) == ("Key export", "revoked", "rejected")
    event = AuditEvent.objects.get(public_id=key.public_id, event="revoked")
    assert (event.at, event.changes["rejected"]) == (key.revoked_at, True)


def test_no_one_has_the_secret_of_a_seeded_key(seeded):
    """They share their hashes, so an unknown secret of one is no secret of another."""
    for key in PersonalAccessToken.objects.all():
        with pytest.raises(Refused, match="invalid"):
            verify(token.compose("acme", "pat", key.public_id, token.generate_secret()))
