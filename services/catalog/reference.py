"""The catalog as a page for people: ``python -m services.catalog.reference > docs/language/catalog.md``."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from services.definition.catalog import CATALOG, Parameter

_SPACES = (
    ("torch", "Functions of `torch`", "torch.{}"),
    ("F", "Functions of `torch.nn.functional`", "F.{}"),
    ("init", "Initialisers (`torch.nn.init`)", "init.{}"),
    ("torch.linalg", "`torch.linalg`", "torch.linalg.{}"),
    ("torch.fft", "`torch.fft`", "torch.fft.{}"),
    ("torch.special", "`torch.special`", "torch.special.{}"),
    ("math", "`math`", "math.{}"),
)
_INTRODUCTION = f"""# Catalog

Everything that a definition may name, and nothing else is. Generated from the catalog by `python -m services.catalog.reference`;
the signatures are those of torch {CATALOG.torch_version.split("+")[0]}. `GET /v1/catalog/{{name}}` has each entry's JSON Schema.
Layers are written by bare name (`Linear(64, 10)`); `device=` and `dtype=` are refused in constructors: the run decides.
"""


def page() -> str:
    """Return the page as Markdown."""
    return "\n".join([_INTRODUCTION, *_classes(), *_functions(), *_methods()]) + "\n"


def _classes() -> Iterator[str]:
    yield "## Layers, containers and losses\n"
    families = sorted({entry.family for entry in CATALOG.classes.values()})
    for family in families:
        yield f"### {family.capitalize()}\n"
        yield from _table(
            (_signature(entry.name, entry.parameters), entry.doc)
            for entry in CATALOG.classes.values()
            if entry.family == family
        )


def _functions() -> Iterator[str]:
    for space, title, form in _SPACES:
        yield f"## {title}\n"
        yield from _table((f"`{form.format(name)}`", entry.doc) for name, entry in CATALOG.functions[space].items())


def _methods() -> Iterator[str]:
    yield "## Tensor methods\n"
    names = ", ".join(f"`{name}`" for name in CATALOG.methods)
    yield f"{names}.\n"


def _table(rows: Iterator[tuple[str, str]]) -> Iterator[str]:
    yield "| Name | |\n|---|---|"
    for name, doc in sorted(rows):
        yield f"| {name} | {doc.replace('|', '&#124;')} |"
    yield ""


def _signature(name: str, parameters: tuple[Parameter, ...]) -> str:
    return f"`{name}({', '.join(_shown(parameter) for parameter in parameters)})`"


def _shown(parameter: Parameter) -> str:
    if parameter.kind == "*":
        return f"*{parameter.name}"
    return parameter.name if parameter.required else f"{parameter.name}={parameter.default!r}"


if __name__ == "__main__":
    sys.stdout.write(page())
