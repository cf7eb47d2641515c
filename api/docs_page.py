"""``/docs``: the OpenAPI document as an interactive page that works offline: Swagger UI, from files beside this one.

The page is public, as the document is; what it asks for in a reader's name needs the reader's key, as anywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from fastapi import APIRouter, Depends, Request, Response

from api.query import no_query
from api.responses import entity_tag, tagged_bytes
from services.errors import NotFound

router = APIRouter(prefix="/docs", tags=["service"], dependencies=[Depends(no_query)], include_in_schema=False)

_FILES = Path(__file__).with_name("swagger")
_PAGE = "index.html"
_MEDIA_TYPES = {
    _PAGE: "text/html; charset=utf-8",
    "page.css": "text/css; charset=utf-8",
    "start.js": "text/javascript; charset=utf-8",
    "swagger-ui.css": "text/css; charset=utf-8",
    "swagger-ui-bundle.js": "text/javascript; charset=utf-8",
    "favicon-32x32.png": "image/png",
}
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Nothing from elsewhere, nothing inline; the style sheet has its icons as ``data:``."""


@dataclass(frozen=True, slots=True)
class _File:
    content: bytes
    tag: str


@router.get("")
async def get_page(request: Request) -> Response:
    """Return the page."""
    return _answer(request, _PAGE)


@router.get("/{name}")
async def get_file(name: str, request: Request) -> Response:
    """Return one of the files that the page is made of."""
    if name not in _MEDIA_TYPES or name == _PAGE:
        raise NotFound("No such path.")
    return _answer(request, name)


def _answer(request: Request, name: str) -> Response:
    file = _read(name)
    answer = tagged_bytes(request, file.content, file.tag, media_type=_MEDIA_TYPES[name])
    answer.headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
    answer.headers["Referrer-Policy"] = "no-referrer"
    return answer


@cache
def _read(name: str) -> _File:
    content = (_FILES / name).read_bytes()
    return _File(content, entity_tag(content))
