"""The parameters of a path that gives a list a page at a time."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query

from littoral_cloud.commands.paging import MOST

AfterQuery = Annotated[str, Query(max_length=600, description="`next` of the page before. Default: the first page.")]
LimitQuery = Annotated[int, Query(ge=1, le=MOST, description="Things of one page.")]
