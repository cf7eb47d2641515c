"""Commands and client methods for keys, usage and the audit log, against the real service; the operator's program."""

import io
import json
import sys

import pytest

from modelwright import Client
from modelwright.cli import main
from modelwright.cli.keys import duration
from modelwright.errors import Forbidden, RateLimited, StateConflict, Unauthenticated
from modelwright.transport import RetryPolicy
from services.db.models import Tenant
from services.limits.quotas import LIMITS
from services.tenants import administration
from tests.stack import DIGITS_MLP


@pytest.fixture
def run(caller, url, monkeypatch, capsys):
    """Run a command line in this process as the caller; returns exit code, standard output, standard error."""
    monkeypatch.setenv("MODELWRIGHT_URL", url)
    monkeypatch.setenv("MODELWRIGHT_API_KEY", caller.key)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["modelwright", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            main()
        output = capsys.readouterr()
        return caught.value.code or 0, output.out, output.err

    return run


@pytest.fixture
def api(caller, url):
    with Client(url, caller.key, retries=RetryPolicy(attempts=1)) as client:
        yield client


def test_a_key_goes_alone_to_a_pipe_and_its_life_is_shown(run, url):
    code, text, said = run("keys", "create", "jobs:read", "sweeps:read", "--name", "ci", "--expires-in", "90d")
    assert code == 0
    assert text.startswith("mw_")
    assert len(text.split()) == 1
    assert "cannot be shown again" in said
    with Client(url, text.strip()) as narrow:
        own = narrow.own_key()
        with pytest.raises(Forbidden):
            next(narrow.keys())
    assert (own["name"], own["scopes"]) == ("ci", ["jobs:read", "sweeps:read"])

    listed = [line.split("\t") for line in run("keys")[1].splitlines()]
    assert [own["id"], "active", "ci", "jobs:read,sweeps:read"] == listed[0][:4]
    assert run("keys", "show", own["id"], "--json")[1].count(own["id"]) >= 1

    code, fresh, _ = run("keys", "rotate", own["id"], "--overlap", "0s")
    assert code == 0
    assert fresh.startswith("mw_")
    assert fresh != text
    assert json.loads(run("keys", "revoke", own["id"], "--json")[1])["state"] == "revoked"
    assert run("keys", "rotate", own["id"])[0] == 6


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("keys", "create", "jobs:reed"), 3),
        (("keys", "create", "jobs:read", "--expires-in", "soon"), 2),
        (("keys", "show", "key_00000000"), 5),
        (("keys", "revoke", "nonsense"), 3),
    ],
)
def test_what_cannot_be_done_has_its_exit_code(run, arguments, code):
    assert run(*arguments)[0] == code


def test_durations():
    assert [duration(one) for one in ("45s", "30m", "12h", "90d", "2w")] == [45, 1800, 43_200, 7_776_000, 1_209_600]


def test_login_tries_the_key_and_keeps_it(run, caller, url, monkeypatch, tmp_path):
    monkeypatch.setenv("MODELWRIGHT_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.delenv("MODELWRIGHT_API_KEY")
    monkeypatch.delenv("MODELWRIGHT_URL")
    file = tmp_path / "data" / "credentials.json"
    monkeypatch.setattr(sys, "stdin", io.StringIO("mw_wrong\n"))
    assert run("login", url)[0] == 4
    assert not file.exists()
    monkeypatch.setattr(sys, "stdin", io.StringIO(caller.key + "\n"))
    code, out, said = run("login", url)
    assert (code, out) == (0, "")
    assert str(file) in said.replace("\n", "")
    assert caller.key[12:] not in said
    assert file.stat().st_mode & 0o777 == 0o600
    assert run("usage")[0] == 0
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    assert run("login", url)[0] == 2


def test_login_says_what_comes_before_it(run, caller, url, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("MODELWRIGHT_DATA_DIR", raising=False)
    monkeypatch.setattr(sys, "stdin", io.StringIO(caller.key + "\n"))
    assert "MODELWRIGHT_API_KEY comes first" in run("login", url)[2]


def test_usage_and_audit_in_a_pipe(run, api):
    job = api.submit(DIGITS_MLP)["id"]
    api.cancel(job)
    limits = dict(line.split("\t", 1) for line in run("usage")[1].splitlines())
    assert limits.keys() == LIMITS.keys()
    assert limits["keys"].startswith("1\t")
    rows = [line.split("\t") for line in run("audit", "--object", job)[1].splitlines()]
    assert [row[2:5] for row in rows] == [
        ["200", "POST /v1/jobs/{job_id}/cancel", job],
        ["201", "POST /v1/jobs", job],
    ]
    assert json.loads(run("audit", "--json", "--limit", "1")[1])[0]["object_id"] == job


def test_the_client_has_every_call(api, anonymous):
    made = api.create_key(["jobs:read"], name="a", expires_in_seconds=3600)
    assert api.get_key(made["id"])["name"] == "a"
    assert [one["id"] for one in api.keys(limit=1)] == [made["id"]]
    fresh = api.rotate_key(made["id"])
    with pytest.raises(StateConflict):
        api.rotate_key(made["id"])
    assert api.revoke_key(fresh["id"])["state"] == "revoked"
    assert api.usage()["limits"]["keys"]["used"] == 2
    assert [one["action"] for one in api.audit(object_id=fresh["id"])] == [
        "POST /v1/keys/{key_id}/revoke",
        "POST /v1/keys/{key_id}/rotate",
    ]


def test_a_client_that_lost_the_answer_gets_a_key_it_can_use(api, monkeypatch, url):
    """The first answer never arrives; the repeat has no text; the key that replaces it has."""
    send, lost = api._transport._http.send, []

    def lossy(request):
        answer = send(request)
        if request.url.path == "/v1/keys" and request.method == "POST" and not lost:
            import httpx

            lost.append(answer.json()["api_key"])
            raise httpx.ReadError("cut", request=request)
        return answer

    monkeypatch.setattr(api._transport._http, "send", lossy)
    monkeypatch.setattr(api._transport, "_retries", RetryPolicy(attempts=3, first_seconds=0.01))
    made = api.create_key(["jobs:read"])
    assert made["api_key"] not in (None, lost[0])
    with Client(url, made["api_key"]) as works:
        assert works.own_key()["id"] == made["id"]
    with Client(url, lost[0]) as nobodys, pytest.raises(Unauthenticated):
        nobodys.own_key()


def test_a_quota_is_not_tried_again_and_again(api, caller, database):
    with database.session() as session:
        session.get(Tenant, caller.tenant_id).limits = {"unfinished_jobs": 0}
    with pytest.raises(RateLimited, match="the limit is 0"):
        api.submit(DIGITS_MLP)


@pytest.fixture
def operate(api_settings, monkeypatch, capsys):
    """Run the operator's program as `modelwright tenants` does."""
    monkeypatch.setenv("DATABASE_URL", api_settings.database_url)
    monkeypatch.setenv("REDIS_URL", api_settings.redis_url)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["modelwright", "tenants", *arguments])
        with pytest.raises(SystemExit) as caught:
            main()
        output = capsys.readouterr()
        return caught.value.code or 0, output.out, output.err

    return run


def test_an_operator_makes_a_tenant_limits_it_and_gives_it_a_key(operate, url):
    code, out, _ = operate("create", "class of 26", "unfinished_jobs=200", "keys=5", "--json")
    assert code == 0
    made = json.loads(out)
    assert made["own_limits"] == {"unfinished_jobs": 200, "keys": 5}
    _, text, _ = operate("key", "class of 26", "--scope", "usage:read", "--expires-in", "1d")
    with Client(url, text.strip()) as teacher:
        assert teacher.usage()["limits"]["unfinished_jobs"]["limit"] == 200
        assert teacher.own_key()["expires_at"] is not None
    out = operate("limits", made["id"], "keys=default", "--json")[1]
    assert json.loads(out)["own_limits"] == {"unfinished_jobs": 200}
    assert f"{made['id']}\tclass of 26\tunfinished_jobs=200" in operate()[1]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("limits", "nobody"), "no tenant 'nobody'"),
        (("limits", "nobody", "keys=many"), "NAME=NUMBER"),
        (("create", "wrong", "kees=3"), "keys"),
        (("key", "nobody", "--scope", "jobs:reed"), "invalid choice"),
    ],
)
def test_an_operator_is_told_what_is_wrong(operate, arguments, said):
    code, out, err = operate(*arguments)
    assert (code, out) == (2, "")
    assert said in err.replace("\n", " ")


def test_the_operators_words_when_there_is_no_database(operate, monkeypatch, tmp_path):
    monkeypatch.delenv("DATABASE_URL")
    code, _, err = operate("list", "--data", str(tmp_path))
    assert code == 2
    assert "modelwright up" in err


def test_limits_out_of_range_are_refused(database, api_settings, tenant_id):
    from services.errors import InvalidRequest

    for value in (-1, 2**54):
        with pytest.raises(InvalidRequest) as caught, database.session() as session:
            administration.change_limits(session, name=tenant_id, limits={"keys": value}, settings=api_settings)
        assert caught.value.code == "out_of_range"
