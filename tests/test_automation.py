"""The files that GitHub, Read the Docs and pre-commit run: pinned, small rights, and real paths."""

import json
import os
import re
import shutil
import subprocess
import tomllib

import pytest
import yaml

from tests.documents import ROOT
from tests.services import require

DOCS = "https://apikeys.readthedocs.io/en/stable/"
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))


def load(path):
    return yaml.safe_load(path.read_text("utf-8"))


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_every_action_is_pinned_by_its_hash_with_its_version(path):
    uses = re.findall(r"^\s*-? *uses: (.*)$", path.read_text("utf-8"), re.MULTILINE)

    assert uses
    for each in uses:
        if each.startswith("$/"):  # this repository, at the commit that runs
            assert (ROOT / each.removeprefix("$/")).is_file(), each
            continue
        assert re.fullmatch(r"[\w.-]+/[\w.-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", each), each


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_job_has_only_the_rights_that_it_names_and_ends(path):
    workflow = load(path)

    assert workflow["permissions"] == {}
    for name, job in workflow["jobs"].items():
        assert "permissions" in job, name
        if "uses" in job:  # its own jobs say when they end
            assert load(ROOT / job["uses"].removeprefix("$/"))["permissions"] == {}, name
            continue
        assert job["timeout-minutes"] <= (330 if name == "long" else 90), name
        for step in job["steps"]:
            if str(step.get("uses", "")).startswith("actions/checkout@"):
                assert step["with"]["persist-credentials"] is False, name


def test_only_the_job_that_publishes_can_publish():
    jobs = load(ROOT / ".github/workflows/release.yml")["jobs"]
    publishing = jobs["publish"]

    assert publishing["permissions"] == {"id-token": "write"}
    assert publishing["environment"]["name"] == "pypi"
    assert not [step for step in publishing["steps"] if "run" in step]
    assert "id-token" not in jobs["build"]["permissions"]


def needed(jobs, name):
    """Return the jobs that must succeed before the job ``name`` starts."""
    direct = jobs[name].get("needs", [])
    direct = [direct] if isinstance(direct, str) else direct
    return {*direct, *(each for job in direct for each in needed(jobs, job))}


def test_nothing_is_built_or_published_before_ci_passes_for_the_tag():
    jobs = load(ROOT / ".github/workflows/release.yml")["jobs"]

    assert jobs["ci"]["uses"] == "$/.github/workflows/ci.yml"
    triggers = load(ROOT / ".github/workflows/ci.yml")[True]  # YAML 1.1 reads `on` as a boolean
    assert "workflow_call" in triggers
    assert jobs["ci"]["permissions"] == {"contents": "read"}
    for name, job in jobs.items():
        assert name == "ci" or "ci" in needed(jobs, name), name
        assert "if" not in job, name  # `always()` would start it after a failure


@pytest.mark.slow
def test_the_build_backend_of_a_release_is_pinned_with_hashes():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    locked = tomllib.loads((ROOT / "uv.lock").read_text("utf-8"))["package"]
    steps = load(ROOT / ".github/workflows/release.yml")["jobs"]["build"]["steps"]
    runs = [step.get("run", "") for step in steps]

    assert project["dependency-groups"]["build"] == project["build-system"]["requires"]
    assert {"hatchling", "hatch-fancy-pypi-readme"} <= {each["name"] for each in locked}
    (build,) = [run for run in runs if run.startswith("uv build")]
    assert build == "uv build --build-constraints build.txt --require-hashes"
    (export,) = [run for run in runs if "--only-group build" in run]
    assert export.endswith("--output-file build.txt")
    assert runs.index(export) < runs.index(build)


def test_the_bill_of_materials_names_the_release(tmp_path):
    require("jq", shutil.which("jq") is not None, "Run .ci/services.")
    steps = load(ROOT / ".github/workflows/release.yml")["jobs"]["build"]["steps"]
    (command,) = [step["run"] for step in steps if step.get("run", "").startswith("jq ")]
    component = {"type": "library", "bom-ref": "apikeys-1", "name": "apikeys"}
    exported = {"metadata": {"component": component}, "components": [{"name": "django"}]}
    (tmp_path / "uv.cdx.json").write_text(json.dumps(exported))
    env = {**os.environ, "GITHUB_REF_NAME": "v1.2.3"}
    subprocess.run(["bash", "-ec", command], cwd=tmp_path, env=env, check=True)

    named = json.loads((tmp_path / "apikeys.cdx.json").read_text())
    expected = component | {"version": "1.2.3", "purl": "pkg:pypi/apikeys@1.2.3"}
    assert named == exported | {"metadata": {"component": expected}}


def test_mysql_is_removed_before_mariadb_is_installed():
    steps = load(ROOT / ".github/workflows/ci.yml")["jobs"]["test"]["steps"]
    names = [step.get("name", "") for step in steps]

    (install,) = [n for n, step in enumerate(steps) if ".ci/services" in step.get("run", "")]
    assert names.index("Remove MySQL") < install


def test_ci_tests_every_supported_python_django_and_database():
    matrix = load(ROOT / ".github/workflows/ci.yml")["jobs"]["test"]["strategy"]["matrix"]
    tested = matrix["include"]
    declared = (ROOT / "pyproject.toml").read_text("utf-8")

    for name, classifier in [
        ("python", r'"Programming Language :: Python :: (3\.\d+)"'),
        ("django", r'"Framework :: Django :: (\d\.\d)"'),
    ]:
        assert set(re.findall(classifier, declared)) <= {each[name] for each in tested}
    assert {each["database"] for each in tested} == {"sqlite", "postgresql", "mariadb"}
    for each in tested:
        for group in re.findall(r"--group (\w+)", each["install"]):
            assert re.search(rf"^{group} = ", declared, re.MULTILINE), group


def test_ci_runs_the_hooks_of_pre_commit():
    for file in (".github/workflows/ci.yml", ".ci/run"):
        assert "run pre-commit run --all-files" in (ROOT / file).read_text("utf-8").replace(
            "run --quiet pre-commit", "run pre-commit"
        )
    (local,) = load(ROOT / ".pre-commit-config.yaml")["repos"]
    assert local["repo"] == "local"  # from the lock file, without a second list of versions


def test_read_the_docs_builds_the_site_without_warnings():
    config = load(ROOT / ".readthedocs.yaml")

    assert config["sphinx"]["fail_on_warning"] is True
    assert (ROOT / config["sphinx"]["configuration"]).is_file()


def test_the_links_of_the_issue_forms_lead_to_pages():
    linked = "".join(
        path.read_text("utf-8") for path in sorted((ROOT / ".github").rglob("*")) if path.is_file()
    )
    pages = re.findall(rf"{re.escape(DOCS)}([\w/-]+)\.html", linked)

    assert pages
    assert not [page for page in pages if not (ROOT / f"docs/{page}.md").is_file()]


@pytest.mark.parametrize("name", ["bug", "feature"])
def test_an_issue_form_has_questions_with_ids(name):
    form = load(ROOT / f".github/ISSUE_TEMPLATE/{name}.yml")
    asked = [each["id"] for each in form["body"] if each["type"] != "markdown"]

    assert form["name"]
    assert form["description"]
    assert len(asked) == len(set(asked)) > 0
