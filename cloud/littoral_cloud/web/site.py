"""All pages, added to the application that has the API."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.responses import Response
from fastapi.staticfiles import StaticFiles

from littoral_cloud.web.failures import add_page_failures
from littoral_cloud.web.pages import (
    audit,
    changes,
    drift,
    entering,
    fleet,
    imports,
    people,
    releases,
    rollout_start,
    rollouts,
    runs,
    start,
)
from littoral_cloud.web.render import HERE

PAGES = (
    entering.router,
    start.router,
    fleet.router,
    releases.router,
    imports.router,
    rollouts.router,
    rollout_start.router,
    runs.router,
    drift.router,
    audit.router,
    people.router,
    changes.router,
)


class PageFiles(StaticFiles):
    """Scripts and styles. A browser asks each time whether its copy is still right, so that a new release is seen at once."""

    def file_response(self, *args: Any, **given: Any) -> Response:
        answer = super().file_response(*args, **given)
        answer.headers["cache-control"] = "no-cache"
        answer.headers["x-content-type-options"] = "nosniff"
        return answer


def add_pages(app: FastAPI) -> None:
    """Who is not signed in is sent to the sign-in page."""
    for router in PAGES:
        app.include_router(router)
    app.mount("/static", PageFiles(directory=HERE / "static"), name="static")
    add_page_failures(app)
