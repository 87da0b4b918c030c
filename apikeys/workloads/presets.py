"""Describe the tokens of known issuers, and name the claims that a key may trust.

An ID that the issuer never reuses is safe. A name is not: after a rename, somebody else can take
it. Each preset says which claims identify one workload, which only narrow a rule, and why the
others are refused.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from django.utils.translation import gettext_lazy as _


@dataclass(frozen=True)
class Claim:
    """A claim that a rule may be about."""

    #: The path of the claim in a token: one name, or the names of nested objects.
    path: tuple[str, ...]
    #: Whether a rule may contain ``*``.
    glob: bool = False
    #: A regular expression that the whole value must match.
    pattern: str = r".{1,255}"
    #: An example, for forms and errors.
    example: str = ""


@dataclass(frozen=True)
class Preset:
    """One kind of issuer."""

    label: str
    #: The claims that rules may be about, by the name that rules use.
    claims: Mapping[str, Claim]
    #: A rule set must name all claims of one of these.
    required: tuple[tuple[str, ...], ...]
    #: The issuer of everybody's tokens. Empty: each site has its own.
    issuer: str = ""
    #: Why rules may not be about other claims, and which claim to use instead, by claim.
    refused: Mapping[str, tuple[object, str]] = field(default_factory=dict)
    #: Why a set of rules without a required claim is refused.
    too_broad: object = ""
    #: Claims and the start of their values that mark a run for a pull request.
    pull_requests: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    #: The claim whose rule allows such runs.
    allows_pull_requests: str = ""


def _claims(*names: str, **others: Claim) -> dict[str, Claim]:
    return {name: Claim((name,)) for name in names} | others


def _id(name: str, example: str) -> Claim:
    return Claim((name,), pattern=r"[0-9]{1,20}", example=example)


def _glob(name: str, example: str) -> Claim:
    return Claim((name,), glob=True, example=example)


_NAME: Final = _(
    "It is a name. After a rename, somebody else can take it. Use %(instead)s instead."
)
_RENAMES: Final = _(
    "It contains names. After a rename, somebody else can take them. Use %(instead)s instead."
)
_UUID: Final = r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}"
_DNS: Final = r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?"
_AWS: Final = "https://sts.amazonaws.com/"


def _instead(reason: object, claim: str) -> tuple[object, str]:
    return reason, claim


PRESETS: Final[Mapping[str, Preset]] = {
    "github": Preset(
        "GitHub Actions",
        issuer="https://token.actions.githubusercontent.com",
        claims=_claims(
            "environment",
            "event_name",
            "ref_type",
            "ref_protected",
            "repository_visibility",
            "runner_environment",
            "sha",
            "workflow_sha",
            "job_workflow_sha",
            repository_id=_id("repository_id", "123456789"),
            repository_owner_id=_id("repository_owner_id", "9919"),
            actor_id=_id("actor_id", "583231"),
            enterprise_id=_id("enterprise_id", "42"),
            ref=_glob("ref", "refs/heads/main"),
            workflow_ref=_glob(
                "workflow_ref", "acme/app/.github/workflows/deploy.yml@refs/heads/main"
            ),
            job_workflow_ref=_glob(
                "job_workflow_ref", "acme/ci/.github/workflows/deploy.yml@refs/tags/*"
            ),
        ),
        required=(("repository_id",), ("repository_owner_id",)),
        refused={
            "repository": _instead(_NAME, "repository_id"),
            "repository_owner": _instead(_NAME, "repository_owner_id"),
            "actor": _instead(_NAME, "actor_id"),
            "enterprise": _instead(_NAME, "enterprise_id"),
            "workflow": _instead(_NAME, "workflow_ref"),
            "sub": _instead(_RENAMES, "repository_id"),
        },
        too_broad=_(
            "Every repository on GitHub could use this key. Add repository_id, or "
            "repository_owner_id to trust all repositories of one owner."
        ),
        pull_requests={"event_name": ("pull_request",), "ref": ("refs/pull/",)},
        allows_pull_requests="event_name",
    ),
    "gitlab": Preset(
        "GitLab CI",
        issuer="https://gitlab.com",
        claims=_claims(
            "environment",
            "environment_protected",
            "deployment_tier",
            "pipeline_source",
            "project_visibility",
            "ref_protected",
            "ref_type",
            "runner_environment",
            "sha",
            "ci_config_sha",
            project_id=_id("project_id", "278964"),
            namespace_id=_id("namespace_id", "9970"),
            user_id=_id("user_id", "42"),
            runner_id=_id("runner_id", "1"),
            ref_path=_glob("ref_path", "refs/heads/main"),
            ci_config_ref_uri=_glob(
                "ci_config_ref_uri", "gitlab.com/acme/app//.gitlab-ci.yml@refs/heads/main"
            ),
        ),
        required=(("project_id",), ("namespace_id",)),
        refused={
            "project_path": _instead(_NAME, "project_id"),
            "namespace_path": _instead(_NAME, "namespace_id"),
            "user_login": _instead(_NAME, "user_id"),
            "user_email": _instead(_NAME, "user_id"),
            "sub": _instead(_RENAMES, "project_id"),
            "ref": _instead(
                _("A branch and a tag may have the same name. Use %(instead)s instead."), "ref_path"
            ),
        },
        too_broad=_(
            "Every project on this GitLab could use this key. Add project_id, or namespace_id "
            "to trust all projects of one group."
        ),
        # A child of a merge request's pipeline runs the same code, and its `ref_path` is a branch.
        pull_requests={
            "pipeline_source": (
                "merge_request_event",
                "external_pull_request_event",
                "parent_pipeline",
            ),
        },
        allows_pull_requests="pipeline_source",
    ),
    "kubernetes": Preset(
        "Kubernetes",
        claims={
            "sub": Claim(
                ("sub",),
                pattern=rf"system:serviceaccount:{_DNS}:{_DNS}",
                example="system:serviceaccount:production:deploy",
            ),
            "namespace": Claim(("kubernetes.io", "namespace"), pattern=_DNS, example="production"),
            "service_account": Claim(
                ("kubernetes.io", "serviceaccount", "name"), pattern=_DNS, example="deploy"
            ),
            "service_account_uid": Claim(("kubernetes.io", "serviceaccount", "uid"), pattern=_UUID),
            "pod_uid": Claim(("kubernetes.io", "pod", "uid"), pattern=_UUID),
            "node_uid": Claim(("kubernetes.io", "node", "uid"), pattern=_UUID),
        },
        required=(("service_account_uid",), ("sub",), ("service_account", "namespace")),
        too_broad=_(
            "Every pod of the cluster could use this key. Add service_account_uid, or namespace "
            "and service_account."
        ),
    ),
    "google": Preset(
        "Google Cloud",
        issuer="https://accounts.google.com",
        claims={
            "sub": _id("sub", "112233445566778899001"),
            "project_number": Claim(
                ("google", "compute_engine", "project_number"), pattern=r"[0-9]{1,20}"
            ),
            "instance_id": Claim(
                ("google", "compute_engine", "instance_id"), pattern=r"[0-9]{1,20}"
            ),
            "zone": Claim(("google", "compute_engine", "zone")),
        },
        required=(("sub",),),
        refused={
            "email": _instead(_NAME, "sub"),
            "azp": _instead(_NAME, "sub"),
        },
        too_broad=_(
            "Every Google account could use this key. Add sub, the unique ID of a service account."
        ),
    ),
    "aws": Preset(
        "AWS",
        claims={
            "sub": Claim(
                ("sub",),
                pattern=r"arn:[a-z-]{1,20}:(?:iam|sts)::[0-9]{12}:[!-)+-~]{1,200}",
                example="arn:aws:iam::123456789012:role/deploy",
            ),
            **{
                name: Claim((_AWS, name))
                for name in (
                    "aws_account",
                    "org_id",
                    "source_region",
                    "lambda_source_function_arn",
                    "ec2_instance_source_vpc",
                )
            },
        },
        required=(("sub",),),
        too_broad=_(
            "Every role and user of the account could use this key. Add sub, the ARN of a role."
        ),
    ),
    "azure": Preset(
        "Azure",
        claims={
            "oid": Claim(("oid",), pattern=_UUID),
            "tid": Claim(("tid",), pattern=_UUID),
            "azp": Claim(("azp",), pattern=_UUID),
            "appid": Claim(("appid",), pattern=_UUID),
            "idtyp": Claim(("idtyp",), example="app"),
        },
        required=(("oid",),),
        refused={
            "sub": _instead(_("It differs for each application. Use %(instead)s instead."), "oid"),
            "preferred_username": _instead(_NAME, "oid"),
            "upn": _instead(_NAME, "oid"),
        },
        too_broad=_(
            "Every identity of the tenant could use this key. Add oid, the object ID of a managed "
            "identity or service principal."
        ),
    ),
}
