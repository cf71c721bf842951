"""Use cases of webhooks."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from littoral_cloud.commands.paging import Page, page_of
from littoral_cloud.commands.use_case import Office, use_case
from littoral_cloud.fleet.ledger import AuditEntry
from littoral_cloud.terminal.text import when
from littoral_cloud.trust.people import Caller, Role
from littoral_cloud.webhooks.message import SECRET_BYTES, secret_of
from littoral_cloud.webhooks.records import (
    KIND,
    Webhook,
    WebhookProgress,
    delete_webhook,
    no_webhook,
    read_webhooks,
    save_webhook,
)

LIST = "webhooks"


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookShown:
    """`answer`: of the last attempt, a status or why none came. `failing_since`: none where it succeeded."""

    name: str
    url: str
    events: tuple[str, ...]
    created: str
    created_by: str
    delivered: int
    given_up: int
    last: str | None
    answer: str | None
    failing_since: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedWebhook:
    """`secret`: shown this once, where the webhook is new; else none."""

    webhook: WebhookShown
    secret: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookTried:
    """`answer`: the status that came back, or why none came."""

    name: str
    answer: str
    delivered: bool


@use_case("webhook.list", Role.ADMIN)
async def page(office: Office, caller: Caller, *, after: str, limit: int) -> Page[WebhookShown]:
    """Webhooks, by name, and how far each has come."""
    every = await read_webhooks(office.core.ledger)
    return page_of(every.items(), lambda each: each[0], lambda each: _shown(each[0], *each[1]), of=LIST, after=after, limit=limit)


@use_case("webhook.save", Role.ADMIN)
async def save(office: Office, caller: Caller, *, name: str, url: str, events: Sequence[str]) -> SavedWebhook:
    """Sends events to a URL from now on, or changes an existing webhook."""
    core = office.core
    webhook, is_new = await save_webhook(
        core.ledger, name, url, events, core.clock(), lambda: secret_of(secrets.token_bytes(SECRET_BYTES)), caller.name
    )
    progress = (await read_webhooks(core.ledger)).get(name, (webhook, None))[1]
    return SavedWebhook(webhook=_shown(name, webhook, progress), secret=webhook.secret if is_new else None)


@use_case("webhook.delete", Role.ADMIN)
async def delete(office: Office, caller: Caller, *, name: str) -> None:
    """Sends nothing to a webhook any more."""
    await delete_webhook(office.core.ledger, name, caller.name)


@use_case("webhook.try", Role.ADMIN)
async def try_out(office: Office, caller: Caller, *, name: str) -> WebhookTried:
    """Sends one event of the type webhook.tried now, once."""
    import httpx

    from littoral_cloud.webhooks.sender import ANSWER_S, attempt

    core = office.core
    if (known := (await read_webhooks(core.ledger)).get(name)) is None:
        raise no_webhook(name)
    id = f"try-{secrets.token_hex(8)}"
    now = core.clock()
    event = AuditEntry(id=id, at=now, action=f"{KIND}.tried", subject=name, actor=caller.name, details={}, chain="")
    async with httpx.AsyncClient(timeout=ANSWER_S, follow_redirects=False, trust_env=False) as http:
        answer = await attempt(http, known[0], event, name, now)
    return WebhookTried(name=name, answer=answer, delivered=answer.isdigit() and answer.startswith("2"))


def _shown(name: str, webhook: Webhook, progress: WebhookProgress | None) -> WebhookShown:
    return WebhookShown(
        name=name,
        url=webhook.url,
        events=webhook.events,
        created=when(webhook.created_at),
        created_by=webhook.created_by,
        delivered=progress.delivered if progress else 0,
        given_up=progress.given_up if progress else 0,
        last=when(progress.last_at) if progress and progress.last_at else None,
        answer=(progress.last_answer or None) if progress else None,
        failing_since=when(progress.failing_since) if progress and progress.failing_since else None,
    )
