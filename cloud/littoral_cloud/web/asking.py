"""A page that asks before something is done: what it will do, what it needs to know, and a button. Every action has one, at the
address where its form goes; with JavaScript the form is shown in a dialog on the page before."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from littoral.errors import BadInput, FleetError
from littoral_cloud.api.rest.access import needs
from littoral_cloud.api.rest.failures import http_status_of
from littoral_cloud.fleet.labels import labels_from
from littoral_cloud.trust.people import Denied
from littoral_cloud.web.page_words import problem_on_page
from littoral_cloud.web.render import see_other
from littoral_cloud.web.visitor import CSRF_FIELD, Visitor, VisitorDep


@dataclass(frozen=True, slots=True, kw_only=True)
class FormField:
    """`kind`: of an HTML input, or "choice", "check", "hidden". `choices`: value and name."""

    name: str
    label: str = ""
    kind: str = "text"
    value: str = ""
    help: str = ""
    needed: bool = False
    choices: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """`does`: sentences that say what will happen; `back`: where Cancel leads."""

    title: str
    does: tuple[str, ...]
    button: str
    back: str
    danger: bool = False
    fields: tuple[FormField, ...] = ()
    upload: bool = False
    action: str = ""

    def filled(self, given: Mapping[str, str]) -> Ask:
        """With the values that somebody gave already; files have to be chosen again."""

        def fill(each: FormField) -> FormField:
            if each.kind == "file":
                return each
            return replace(each, value=given.get(each.name, "" if each.kind == "check" else each.value))

        return replace(self, fields=tuple(map(fill, self.fields)))


Asks = Callable[[Visitor, str], Awaitable[Ask]]
Does = Callable[[Visitor, str, Mapping[str, str]], Awaitable[str | Response]]
"""Gives where the browser goes then, or a page."""


def add_action(router: APIRouter, path: str, case: Callable[..., Any], asks: Asks, does: Does) -> None:
    """Adds an action of one thing: `path` has {id}, or names no thing, for which the id is "".

    Args:
        case: the use case that `does` calls: who may do it is asked before the form is shown, too.
    """

    async def ask(request: Request, visitor: VisitorDep) -> Response:
        await visitor.needs(case)
        found = await asks(visitor, request.path_params.get("id", ""))
        return visitor.page("ask.html", ask=replace(found, action=request.url.path), problem="")

    async def do(request: Request, visitor: VisitorDep) -> Response:
        id, given = request.path_params.get("id", ""), await fields_of(request)
        try:
            done = await does(visitor, id, given)
        except FleetError as error:
            if isinstance(error, Denied):
                raise
            found = replace((await asks(visitor, id)).filled(given), action=request.url.path)
            problem = problem_on_page(error, {each.name: each.label for each in found.fields})
            return visitor.page("ask.html", http_status_of(error), ask=found, problem=problem)
        return see_other(done) if isinstance(done, str) else done

    router.add_api_route(path, ask, methods=["GET"], **needs(case))
    router.add_api_route(path, do, methods=["POST"], **needs(case))


async def fields_of(request: Request) -> Mapping[str, str]:
    """The texts of a form, without its secret."""
    form = await request.form()
    return {name: value for name, value in form.items() if isinstance(value, str) and name != CSRF_FIELD}


def number(given: Mapping[str, str], name: str, *, what: str) -> float | None:
    """None where the field is empty. Raises BadInput."""
    text = given.get(name, "").strip()
    if not text:
        return None
    try:
        return float(text)
    except ValueError:
        raise BadInput(f"{what}: {text[:40]!r} is no number", hint="like 24") from None


def labels_of(text: str) -> dict[str, str]:
    """Of "site=north camera=old". Raises BadInput."""
    return labels_from(text.replace(",", " ").split())
