"""Issuers of workloads' tokens, with the claims that the real ones have and keys of the tests."""

import time
import uuid

from joserfc import jwk, jwt

SITE = "https://acme.example"
URL = "https://token.actions.githubusercontent.com"
CLUSTER = "https://oidc.cluster.example"


class Signer:
    """Signs tokens of one issuer."""

    def __init__(self, url, claims, algorithm="RS256"):
        self.url, self._claims, self._algorithm = url, claims, algorithm
        self.key = (
            jwk.RSAKey.generate_key(2048) if algorithm == "RS256" else jwk.ECKey.generate_key()
        )

    @property
    def jwks(self):
        return {"keys": [{**self.key.as_dict(private=False), "kid": "1", "use": "sig"}]}

    def claims(self, **changes):
        now = int(time.time())
        claims = {
            "iss": self.url,
            "aud": SITE,
            "iat": now,
            "nbf": now,
            "exp": now + 300,
            "jti": str(uuid.uuid4()),
            **self._claims,
            **changes,
        }
        return {name: value for name, value in claims.items() if value is not None}

    def token(self, **changes):
        """Return a token. ``None`` leaves a claim out."""
        header = {"alg": self._algorithm, "kid": "1", "typ": "JWT"}
        return jwt.encode(header, self.claims(**changes), self.key, algorithms=[self._algorithm])


GITHUB = Signer(
    URL,
    {
        "sub": "repo:acme/app:environment:production",
        "repository": "acme/app",
        "repository_id": "123456789",
        "repository_owner": "acme",
        "repository_owner_id": "9919",
        "environment": "production",
        "ref": "refs/heads/main",
        "event_name": "push",
        "actor_id": "583231",
        "job_workflow_ref": "acme/app/.github/workflows/deploy.yml@refs/heads/main",
    },
)
KUBERNETES = Signer(
    CLUSTER,
    {
        "aud": [SITE],
        "sub": "system:serviceaccount:production:deploy",
        "kubernetes.io": {
            "namespace": "production",
            "serviceaccount": {
                "name": "deploy",
                "uid": "0f6b1c1e-7d4e-4f6f-9f6e-2f3a4b5c6d7e",
            },
        },
    },
    "ES256",
)

SETTINGS = {
    "SITE_URL": SITE,
    "WORKLOAD_ISSUERS": {
        "github": {"JWKS": GITHUB.jwks},
        "kubernetes": {"ISSUER": CLUSTER, "JWKS": KUBERNETES.jwks, "DIRECT_USE": True},
    },
}

TRUST = {"issuer": "github", "claims": {"repository_id": 123456789, "environment": "production"}}
