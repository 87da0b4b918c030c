"""The core alone beside a django-oauth-toolkit that is older than the extra `oauth` supports."""

import json

import pytest

from tests.documents import ROOT
from tests.packaging.test_wheel import UV, run
from tests.services import require
from tests.tiers import long

pytestmark = pytest.mark.packaging

VERSION = "2.4.0"
REQUIREMENTS = (
    f"django-oauth-toolkit=={VERSION}",
    "django>=5.2.15,<5.3",
    "djangorestframework>=3.16",
    "argon2-cffi>=23.1",
)

#: What our class says of a credential that is no one's, if it stands last.
REFUSED = {"documented": [401, "malformed_key"]}


@pytest.fixture(scope="module")
def answers(request):
    """Run the site in an environment that is kept from one run to the next."""
    require("uv", UV is not None, "Run the tests by the command in the README.")
    folder = request.config.cache.mkdir(f"django-oauth-toolkit-{VERSION}")
    python = folder / "bin" / "python"
    done = folder / "requirements.txt"
    if not done.exists() or done.read_text() != "\n".join(REQUIREMENTS):
        run(UV, "venv", "--quiet", "--clear", folder, cwd=ROOT)
        run(UV, "pip", "install", "--quiet", "--python", python, *REQUIREMENTS, cwd=ROOT)
        done.write_text("\n".join(REQUIREMENTS))
    site = ROOT / "tests/packaging/older_dot_site.py"
    out = run("env", f"PYTHONPATH={ROOT}", python, "-W", "ignore", site, cwd=ROOT)
    return json.loads(out.splitlines()[-1])


def test_it_is_the_older_version(answers):
    assert answers["version"] == VERSION


@pytest.mark.parametrize("order", ["documented", long("prefixed-first"), long("prefixed-last")])
@pytest.mark.parametrize("permission", ["ours", "theirs"])
def test_keys_and_its_tokens_work_side_by_side(answers, order, permission):
    found = answers["answers"][f"{order}/{permission}"]
    nobody = REFUSED.get(order) or [401, "not_authenticated" if permission == "ours" else None]
    anonymous = [401, "not_authenticated" if permission == "ours" else None]
    lacking = [403, "insufficient_scope" if permission == "ours" else None]
    assert found == {
        "key": [200, "ada"],
        "writer key": [200, "ada"],
        "reports key": [403, "insufficient_scope" if permission == "ours" else None],
        "mistyped key": [401, "malformed_key"],
        "revoked key": [401, "revoked_key"],
        "token": [200, "ada"],
        "token without the scope": lacking,
        "expired token": nobody,
        "unknown": nobody,
        "none": anonymous,
    }
