"""The catalog's page is the catalog."""

from pathlib import Path

from services.catalog.reference import page


def test_the_page_in_the_docs_is_generated_from_the_catalog() -> None:
    kept = Path(__file__).parents[3] / "docs" / "language" / "catalog.md"
    assert kept.read_text(encoding="utf-8") == page()
