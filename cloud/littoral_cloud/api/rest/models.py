"""Paths of models as a whole."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from littoral_cloud.api.rest.access import HereDep, needs
from littoral_cloud.api.rest.paging import AfterQuery, LimitQuery
from littoral_cloud.commands import models
from littoral_cloud.commands.models import ModelFront, ModelLineage, ModelShown
from littoral_cloud.commands.paging import Page

router = APIRouter(prefix="/models", tags=["models"])


@router.get("", **needs(models.page))
async def page(here: HereDep, after: AfterQuery = "", limit: LimitQuery = 50) -> Page[ModelShown]:
    return await models.page(here.office, here.caller, after=after, limit=limit)


@router.get("/{model}/front", **needs(models.front))
async def front(
    here: HereDep, model: str, hardware_class: Annotated[str, Query(description="Default: the one that measured most")] = ""
) -> ModelFront:
    return await models.front(here.office, here.caller, model=model, hardware_class=hardware_class)


@router.get("/{model}/lineage", **needs(models.lineage))
async def lineage(here: HereDep, model: str) -> ModelLineage:
    return await models.lineage(here.office, here.caller, model=model)
