"""Paths of webhooks."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import APIRouter, Response

from littoral_cloud.api.rest.access import HereDep, needs
from littoral_cloud.api.rest.paging import AfterQuery, LimitQuery
from littoral_cloud.commands import webhooks
from littoral_cloud.commands.paging import Page
from littoral_cloud.commands.webhooks import SavedWebhook, WebhookShown, WebhookTried
from littoral_cloud.webhooks.records import USUAL

router = APIRouter(prefix="/webhooks", tags=["webhooks"])


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookRequest:
    url: str
    events: tuple[str, ...] = USUAL  # patterns of actions in the audit trail


@router.get("", **needs(webhooks.page))
async def page(here: HereDep, after: AfterQuery = "", limit: LimitQuery = 50) -> Page[WebhookShown]:
    return await webhooks.page(here.office, here.caller, after=after, limit=limit)


@router.put("/{name}", **needs(webhooks.save))
async def save(here: HereDep, name: str, request: WebhookRequest, response: Response) -> SavedWebhook:
    response.headers["cache-control"] = "no-store"  # a secret
    return await webhooks.save(here.office, here.caller, name=name, url=request.url, events=request.events)


@router.delete("/{name}", status_code=204, **needs(webhooks.delete))
async def delete(here: HereDep, name: str) -> None:
    await webhooks.delete(here.office, here.caller, name=name)


@router.post("/{name}/try", **needs(webhooks.try_out))
async def try_out(here: HereDep, name: str) -> WebhookTried:
    return await webhooks.try_out(here.office, here.caller, name=name)
