"""The demo's data, on whatever database the suite runs on."""

import pytest
from django.contrib.auth import authenticate
from oauth2_provider.models import AccessToken, RefreshToken

from apikeys import reach, refusals
from apikeys.models import Membership, get_project_model
from apikeys.refusals import Refused
from apikeys.verify import verify
from example_project.payments import seed
from example_project.payments.models import Payment

pytestmark = [
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

    assert AccessToken.objects.count() == 1
    assert not RefreshToken.objects.exists()


def test_without_demo_mode_there_are_no_credentials(settings):
    seed.seed()
    settings.DEMO = False

    with pytest.raises(RuntimeError, match="invalid_grant"):
        seed.credentials()
