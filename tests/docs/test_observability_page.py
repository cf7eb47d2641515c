"""The page on observability names every metric and every log line that there is, and its rules name no other."""

import re
from pathlib import Path

import yaml

from api.metrics_page import _COUNTERS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "observability.md").read_text(encoding="utf-8")


def block(kind):
    [text] = re.findall(rf"^```{kind}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    return yaml.safe_load(text)


def listed():
    return set(re.findall(r"^\| `(modelwright_\w+)", PAGE, re.MULTILINE))


def made():
    source = (ROOT / "api" / "metrics_page.py").read_text() + (ROOT / "api" / "http_metrics.py").read_text()
    plain = set(re.findall(r'"(modelwright_\w+)"', source))
    gauges = {
        f"modelwright_{name}" for name in re.findall(r'^\s+\("(\w+)", "[A-Z][^"]+\.", now\.', source, re.MULTILINE)
    }
    return plain | gauges | {f"modelwright_{name}_total" for name in _COUNTERS}


def test_every_metric_is_in_the_tables_and_no_other():
    assert listed() == made()


def test_the_rules_are_of_metrics_that_there_are():
    rules = block("yaml rules")["groups"][0]["rules"]
    assert len({rule["alert"] for rule in rules}) == len(rules) >= 5
    for rule in rules:
        used = {name.removesuffix("_bucket") for name in re.findall(r"modelwright_\w+", rule["expr"])}
        assert used <= listed(), rule["alert"]
        assert rule["annotations"]["summary"].endswith((".", "?"))
    assert block("yaml scrape")["scrape_configs"][0]["job_name"] == "modelwright"


def test_every_line_of_the_table_is_written_somewhere():
    sources = "\n".join(
        file.read_text() for package in ("api", "services", "worker") for file in (ROOT / package).rglob("*.py")
    )
    table = PAGE[PAGE.index("| `message` |") :].split("\n\n")[0]
    messages = [one for row in table.splitlines()[2:] for one in re.findall(r"`([^`]+)`", row.split("|")[1])]
    assert len(messages) >= 12
    for message in messages:
        pieces = [piece.strip() for piece in message.split("…") if piece.strip()]
        assert pieces[0] in sources, message


def test_the_settings_that_the_page_names_are_read():
    config = (ROOT / "services" / "config.py").read_text()
    for name in set(re.findall(r"MODELWRIGHT_[A-Z_]+", PAGE)):
        assert name in config, name
