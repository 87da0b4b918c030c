"""The lines that a workload needs to use a key that trusts it, ready to paste.

They contain no secret: the workload's own identity token takes its place.
"""

from dataclasses import dataclass
from shlex import quote
from string import Template
from typing import Any, Final
from urllib.parse import quote as percent

from django.urls import NoReverseMatch, reverse

from ..conf import app_settings
from ..workloads import rules
from ..workloads.conf import workload_settings
from ..workloads.rules import Trust


@dataclass(frozen=True)
class Setup:
    """A text to paste, and what it is."""

    name: str
    label: str
    code: str

    @property
    def rows(self) -> int:
        return self.code.count("\n") + 2


_GITHUB: Final = Template("""\
permissions:
  id-token: write
steps:
  - shell: bash
    run: |
      id_token=$$(curl -fsS -H "Authorization: Bearer $$ACTIONS_ID_TOKEN_REQUEST_TOKEN" \\
        "$$ACTIONS_ID_TOKEN_REQUEST_URL&audience=$percent_audience" | jq -r .value)
      token=$$(printf %s "$$id_token" | curl -sS --fail-with-body $url \\
        -d grant_type=$grant -d client_id=$id \\
        --data-urlencode assertion@- | jq -r '$filter')
      echo "::add-mask::$$token"
      echo "$name=$$token" >> "$$GITHUB_ENV"
""")
_GITLAB: Final = Template("""\
deploy:
  id_tokens:
    ID_TOKEN:
      aud: $audience
  script:
    - |
      $name=$$(printf %s "$$ID_TOKEN" | curl -sS --fail-with-body $url \\
        -d grant_type=$grant -d client_id=$id \\
        --data-urlencode assertion@- | jq -r '$filter')
      export $name
""")
_POD: Final = Template("""\
containers:
  - volumeMounts:
      - name: id-token
        mountPath: /var/run/secrets/tokens
volumes:
  - name: id-token
    projected:
      sources:
        - serviceAccountToken:
            audience: $audience
            expirationSeconds: 600
            path: id-token
""")
#: How the identity token gets into a pipe.
_SOURCES: Final = {
    "kubernetes": Template("cat /var/run/secrets/tokens/id-token"),
    "google": Template(
        'curl -fsS -H "Metadata-Flavor: Google" "http://metadata.google.internal/computeMetadata/'
        'v1/instance/service-accounts/default/identity?format=full&audience=$percent_audience"'
    ),
    "aws": Template(
        "aws sts get-web-identity-token --audience $audience --signing-algorithm RS256 \\\n"
        "  --query WebIdentityToken --output text"
    ),
    "azure": Template(
        'curl -fsS -H Metadata:true "http://169.254.169.254/metadata/identity/oauth2/token'
        '?api-version=2018-02-01&resource=$percent_audience" | jq -r .access_token'
    ),
    "": Template('printf %s "$$ID_TOKEN"'),
}
_SHELL: Final = Template("""\
$name=$$($source \\
  | tr -d '\\n' | curl -sS --fail-with-body $url -d grant_type=$grant -d client_id=$id \\
    --data-urlencode assertion@- | jq -r '$filter')
""")

GRANT: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
#: For jq: a refusal ends the job, with its code in the log. ``curl -f`` would hide the code.
_FILTER: Final = ".access_token // error(.error_description // .error)"


def setups(key: Any, root: str = "") -> list[Setup]:
    """Return what the workload of ``key`` needs. ``root`` is the URL of this site."""
    trust = rules.read(key.trust)
    return [] if trust is None else _setups(trust, key.public_id, root)


def _setups(trust: Trust, public_id: str, root: str) -> list[Setup]:
    entry = workload_settings.WORKLOAD_ISSUERS.get(trust.issuer)
    kind = entry.kind if entry else ""
    values = {
        "audience": trust.audience,
        "percent_audience": percent(trust.audience, safe=""),
        "url": quote(_token_url(root or app_settings.SITE_URL or trust.audience)),
        "grant": GRANT,
        "filter": _FILTER,
        "id": public_id,
        "name": f"{app_settings.PREFIX.upper()}_TOKEN",
    }
    if kind == "github":
        return [Setup("workload", ".github/workflows", _GITHUB.substitute(values))]
    if kind == "gitlab":
        return [Setup("workload", ".gitlab-ci.yml", _GITLAB.substitute(values))]
    values["audience"] = quote(trust.audience)
    source = _SOURCES[kind].substitute(values)
    shell = Setup("workload", "Shell", _SHELL.substitute(values, source=source))
    if kind != "kubernetes":
        return [shell]
    values["audience"] = trust.audience
    return [Setup("pod", "Pod", _POD.substitute(values)), shell]


def _token_url(root: str) -> str:
    try:
        path = reverse("oauth2_provider:token")
    except NoReverseMatch:
        path = "/o/token/"
    return root.rstrip("/") + path
