"""What a benchmark imports of ours is there: no test runs them all, and the type checker does not read them."""

import ast
from pathlib import Path

from tests.audit.test_source import PACKAGES, ROOT, relative, walked

OURS = (*PACKAGES, "benchmarks", "tests")


def names_in(module: Path) -> set[str]:
    """Every name that a module binds somewhere; of a package also its modules."""
    file = module / "__init__.py" if module.is_dir() else module.with_suffix(".py")
    found = {one.stem for one in module.glob("*.py")} | {one.name for one in module.glob("*/")}
    for node in walked(file):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.alias):
            found.add(node.asname or node.name)
    return found


def test_what_a_benchmark_imports_of_ours_is_there():
    imported = [
        (relative(file), node.module.split("."), alias.name)
        for file in sorted((ROOT / "benchmarks").glob("*.py"))
        for node in walked(file)
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] in OURS
        for alias in node.names
    ]
    assert len(imported) > 50
    assert [one for one in imported if one[2] not in names_in(ROOT.joinpath(*one[1]))] == []
