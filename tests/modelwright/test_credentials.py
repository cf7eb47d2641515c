import json
from pathlib import Path

import pytest

from modelwright.credentials import Credentials, discover, read, write
from modelwright.errors import NoCredentials

HERE = Credentials("http://127.0.0.1:8000", "mw_here")


@pytest.fixture(autouse=True)
def places(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


def put(folder: Path, credentials: Credentials) -> None:
    folder.mkdir(parents=True)
    write(folder / "credentials.json", credentials)


def test_arguments_come_before_the_environment_and_the_environment_before_files(tmp_path):
    put(tmp_path / ".modelwright", HERE)
    environment = {"MODELWRIGHT_URL": "http://other:1/", "MODELWRIGHT_API_KEY": "mw_other"}
    assert discover("http://third", "mw_third", environment=environment) == Credentials("http://third", "mw_third")
    assert discover(environment=environment) == Credentials("http://other:1", "mw_other")
    assert discover(environment={}) == HERE


def test_the_folder_here_comes_before_the_one_at_home(tmp_path):
    put(tmp_path / "home" / ".modelwright", Credentials("http://home", "mw_home"))
    assert discover(environment={}).url == "http://home"
    put(tmp_path / ".modelwright", HERE)
    assert discover(environment={}) == HERE


def test_a_chosen_data_folder_is_the_only_one_looked_at(tmp_path):
    put(tmp_path / ".modelwright", HERE)
    with pytest.raises(NoCredentials, match="elsewhere"):
        discover(environment={"MODELWRIGHT_DATA_DIR": "elsewhere"})
    put(tmp_path / "elsewhere", Credentials("http://e", "mw_e"))
    assert discover(environment={"MODELWRIGHT_DATA_DIR": "elsewhere"}) == Credentials("http://e", "mw_e")


def test_a_key_from_a_file_is_never_sent_to_another_address(tmp_path):
    put(tmp_path / ".modelwright", HERE)
    assert discover("http://127.0.0.1:8000/", environment={}) == HERE
    with pytest.raises(NoCredentials, match="no API key for http://evil"):
        discover("http://evil", environment={})


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://x", "http://", "nonsense"])
def test_what_is_not_an_address_is_said_to_be_none(url):
    with pytest.raises(NoCredentials, match="not the address"):
        discover(url, "mw_key", environment={})


@pytest.mark.parametrize("content", ["", "{", "[]", '{"url": "http://x"}', "\x00"])
def test_a_broken_file_counts_as_absent(tmp_path, content):
    (tmp_path / "credentials.json").write_text(content)
    assert read(tmp_path / "credentials.json") is None


def test_the_file_is_for_its_owner_alone_even_when_an_open_one_was_there(tmp_path):
    file = tmp_path / "credentials.json"
    file.write_text("{}")
    file.chmod(0o644)
    write(file, HERE)
    assert file.stat().st_mode & 0o777 == 0o600
    assert json.loads(file.read_text()) == {"url": HERE.url, "api_key": HERE.api_key}


def test_a_key_does_not_show_in_a_traceback():
    assert "mw_here" not in repr(HERE)
