"""Rules of the house that no linter knows: sizes, and the calls that could run somebody else's code."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("api", "services", "worker", "modelwright", "migrations")
MAX_FILE_LINES = 300  # aim for 80 to 250
MAX_FUNCTION_LINES = 40  # aim for 20; the docstring does not count

FORBIDDEN_IMPORTS = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "code"}
FORBIDDEN_CALLS = {
    "eval",
    "exec",
    "compile",
    "__import__",
    "breakpoint",
    "os.system",
    "os.popen",
    "torch.load",
    "torch.save",
    "torch.hub.load",
    "yaml.load",
    "yaml.unsafe_load",
    "builtins.eval",
    "builtins.exec",
}
FORBIDDEN_KEYWORDS = {"shell", "allow_pickle"}
ONE_EXEC = "services/modules/"
"""The one place where an `ast` tree that was built node by node from the closed catalog becomes a class."""

ONE_WRITER = "services/modules/export.py: torch.save"
"""What a user asks for as a ``state_dict`` file is written, in a sandboxed child; nothing here ever loads one."""

ENVIRONMENT_READERS = ("modelwright/", "services/config.py", "services/forkserver/", "worker/trainer/")
"""Who may read the environment: the settings, the client, and who starts child processes."""


def sources() -> list[Path]:
    return sorted(file for package in PACKAGES for file in (ROOT / package).rglob("*.py"))


def relative(file: Path) -> str:
    return file.relative_to(ROOT).as_posix()


@cache
def walked(file: Path) -> tuple[ast.AST, ...]:
    return tuple(ast.walk(ast.parse(file.read_text(encoding="utf-8"))))


def nodes(kind: type[ast.AST]) -> Iterator[tuple[str, ast.AST]]:
    for file in sources():
        for node in walked(file):
            if isinstance(node, kind):
                yield relative(file), node


def dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def test_no_file_is_too_long_to_be_read_in_one_go():
    lengths = {relative(file): len(file.read_text(encoding="utf-8").splitlines()) for file in sources()}
    assert {name: lines for name, lines in lengths.items() if lines > MAX_FILE_LINES} == {}


def test_no_function_is_too_long_for_one_screen():
    long = {}
    for file, node in nodes((ast.FunctionDef, ast.AsyncFunctionDef)):
        body = node.body[1:] if ast.get_docstring(node) else node.body
        lines = body[-1].end_lineno - body[0].lineno + 1 if body else 0
        if lines > MAX_FUNCTION_LINES and not file.startswith("migrations/versions/"):
            long[f"{file}:{node.name}"] = lines
    assert long == {}


def test_nothing_that_unpickles_is_imported():
    found = []
    for file, node in nodes((ast.Import, ast.ImportFrom)):
        names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
        found += [f"{file}: {name}" for name in names if name.split(".")[0] in FORBIDDEN_IMPORTS]
    assert found == []


def test_text_never_becomes_code_and_there_is_one_exec():
    found = [f"{file}: {dotted(node.func)}" for file, node in nodes(ast.Call) if dotted(node.func) in FORBIDDEN_CALLS]
    execs = [one for one in found if one.startswith(ONE_EXEC) and one.endswith(": exec")]
    compiles = [one for one in found if one.startswith(ONE_EXEC) and one.endswith(": compile")]
    assert [one for one in found if one not in [*execs, *compiles, ONE_WRITER]] == []
    assert len(execs) <= 1
    assert len(compiles) <= 1


def test_no_call_opens_a_shell_or_allows_pickles():
    found = []
    for file, node in nodes(ast.Call):
        found += [
            f"{file}:{node.lineno} {keyword.arg}"
            for keyword in node.keywords
            if keyword.arg in FORBIDDEN_KEYWORDS
            and not (isinstance(keyword.value, ast.Constant) and keyword.value.value is False)
        ]
    assert found == []


def test_the_settings_alone_read_the_environment():
    found = []
    for file, node in nodes(ast.Attribute):
        if dotted(node) in ("os.environ", "os.getenv") and not file.startswith(ENVIRONMENT_READERS):
            found.append(f"{file}:{node.lineno}")
    assert found == []


@pytest.mark.parametrize("package", PACKAGES)
def test_every_package_is_there(package):
    assert (ROOT / package / "__init__.py").exists()
