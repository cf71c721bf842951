"""What operators ask: the API and the pages as one ASGI application, and where it listens."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from littoral.transport import asked_at, join_address
from littoral_cloud.api.listener_certificates import ListenerCertificates
from littoral_cloud.api.rest.access import refuse_paths_without_role
from littoral_cloud.api.rest.app import guarded, new_rest_app
from littoral_cloud.api.rest.listener import socket_api, tls_api
from littoral_cloud.commands.use_case import Office
from littoral_cloud.local.discovery import api_socket
from littoral_cloud.web.provider import provider_of
from littoral_cloud.web.provider_paths import add_provider, page_url
from littoral_cloud.web.site import add_pages


def web_app(office: Office) -> FastAPI:
    """The API and the pages, for an office. A path without a role does not start."""
    settings = office.core.settings
    provider = provider_of(settings, page_url(settings))
    if provider is None:
        return _without_provider()
    app = _new_app()
    add_provider(app, office, provider)
    refuse_paths_without_role(app)
    return app


@functools.cache
def _without_provider() -> FastAPI:
    app = _new_app()
    refuse_paths_without_role(app)
    return app


def _new_app() -> FastAPI:
    app = new_rest_app()
    add_pages(app)
    app.state.provider = None
    return app


@asynccontextmanager
async def operators_listening(office: Office, certificates: ListenerCertificates) -> AsyncIterator[str]:
    """On a socket in the data folder and on a port; gives the address of the port. Raises Unavailable, BadInput."""
    settings, app = office.core.settings, guarded(web_app(office), office)
    async with (
        socket_api(app, api_socket(settings.data_dir)),
        tls_api(app, settings.api_host, settings.api_port, certificates.enrolment()) as listener,
    ):
        certificates.follow(listener, certificates.enrolment)
        name = settings.public_names[0] if settings.public_names else asked_at(settings.api_host)
        yield join_address(name, listener.port)
