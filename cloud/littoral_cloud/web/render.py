"""How a page is made of a template: what templates may use, and the headers of each answer."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from fastapi.responses import HTMLResponse, RedirectResponse, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from littoral import __version__
from littoral.metric import is_judged
from littoral_cloud.terminal.text import beside, counted, shortened
from littoral_cloud.web import page_words, words

HERE = Path(__file__).parent

SECURITY = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; font-src 'self'; "
        "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "strict-transport-security": "max-age=31536000",
}
NAVIGATION = (
    ("/", "Overview"),
    ("/fleet", "Fleet"),
    ("/releases", "Releases"),
    ("/rollouts", "Rollouts"),
    ("/runs", "Runs"),
    ("/drift", "Drift"),
    ("/audit", "Audit"),
    ("/people", "People"),
)

_templates = Environment(
    loader=FileSystemLoader(HERE / "templates"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
)
_templates.globals.update(navigation=NAVIGATION, version=__version__, is_judged=is_judged)
_templates.filters.update(
    size=words.size,
    ms=words.milliseconds,
    percent=words.percent,
    whole=words.whole,
    shape=words.shape_of,
    short=words.short_digest,
    cut=shortened,
    counted=counted,
    beside=beside,
    plain=page_words.on_page,
    rule=page_words.rule_on_page,
    mover=page_words.mover_on_page,
    moment=words.moment,
    instant=words.instant,
    path=words.path_part,
)


def rendered(template: str, status: int = 200, **values: Any) -> HTMLResponse:
    """A page without a visitor. Nothing that a browser gets is stored on its disk."""
    body = _templates.get_template(template).render(values)
    return HTMLResponse(body, status, headers={**SECURITY, "cache-control": "no-store"})


def see_other(path: str, **query: str) -> Response:
    """Where a browser goes after it did something."""
    target = f"{path}?{urlencode(query)}" if query else path
    return RedirectResponse(target, 303, headers={**SECURITY, "cache-control": "no-store"})


def with_query(path: str, given: Mapping[str, str], **changed: str) -> str:
    """An address with this query, in which some values are others; empty ones are left out."""
    query = {name: value for name, value in {**given, **changed}.items() if value}
    return f"{path}?{urlencode(query)}" if query else path
