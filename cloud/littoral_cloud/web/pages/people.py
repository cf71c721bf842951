"""Who may ask the fleet for what: tokens of people and scripts, join tokens of nodes, webhooks."""

from __future__ import annotations

from collections.abc import Mapping

from fastapi import APIRouter
from fastapi.responses import Response

from littoral.errors import BadInput
from littoral_cloud.api.rest.access import needs
from littoral_cloud.commands import operators, tokens, webhooks
from littoral_cloud.trust.people import Role
from littoral_cloud.web.asking import Ask, FormField, add_action, labels_of, number
from littoral_cloud.web.visitor import Visitor, VisitorDep

router = APIRouter(include_in_schema=False)

MOST = 500
DAY_S = 86_400.0
ROLES = (
    (Role.VIEWER.value, "viewer: reads"),
    (Role.OPERATOR.value, "operator: changes what the fleet runs"),
    (Role.ADMIN.value, "admin: changes who may do what"),
)
DONE = {
    "revoked": "The token opens nothing any more.",
    "renewed": "The token lasts longer now.",
    "closed": "No node can enrol with it any more.",
    "webhook": "The webhook is gone.",
}
NAME = FormField(name="name", label="Name", needed=True, help="Who or what gets it: the name in the audit trail.")
DAYS = FormField(name="days", label="Valid for days", kind="number", value="90", needed=True)


@router.get("/people", **needs(operators.whoami))
async def people(visitor: VisitorDep, did: str = "") -> Response:
    office, caller = visitor.office, visitor.caller
    admin = visitor.may(Role.ADMIN)
    return visitor.page(
        "people.html",
        done=DONE.get(did, ""),
        operators=(await operators.page(office, caller, after="", limit=MOST)).items if admin else (),
        joins=(await tokens.page(office, caller, after="", limit=MOST)).items,
        webhooks=(await webhooks.page(office, caller, after="", limit=MOST)).items if admin else (),
        admin=admin,
    )


async def _ask_create(visitor: Visitor, id: str) -> Ask:
    return Ask(
        title="Make a token for a person or a script",
        does=("Its secret is shown once, on the next page. Who has it may do what its role says, until it ends or is revoked.",),
        button="Make token",
        back="/people",
        fields=(
            NAME,
            FormField(name="role", label="Role", kind="choice", value="viewer", choices=ROLES),
            FormField(name="labels", label="Only nodes with these labels", help="Like site=harbour. Empty: every node."),
            FormField(name="models", label="Only these models", help="Their names with spaces between. Empty: every model."),
            DAYS,
        ),
    )


async def _create(visitor: Visitor, id: str, given: Mapping[str, str]) -> Response:
    days = number(given, "days", what="days") or 90
    made = await operators.create(
        visitor.office,
        visitor.caller,
        name=given.get("name", "").strip(),
        role=_role(given.get("role", "")),
        labels=labels_of(given.get("labels", "")),
        models=tuple(given.get("models", "").split()),
        ttl_s=days * DAY_S,
    )
    return _secret(
        visitor, f"The token of {made.token.name}", made.secret, f"It is a {made.token.role} until {made.token.expires}."
    )


def _role(text: str) -> Role:
    try:
        return Role(text)
    except ValueError:
        raise BadInput(f"role: {text[:40]!r} is not known", hint=f"one of {', '.join(Role)}") from None


async def _ask_renew(visitor: Visitor, id: str) -> Ask:
    return Ask(
        title="Renew this token?",
        does=("It lasts until the new end. With another secret, the one before opens nothing from that moment.",),
        button="Renew",
        back="/people",
        fields=(DAYS, FormField(name="secret", label="Give it another secret", kind="check", help="It is shown once.")),
    )


async def _renew(visitor: Visitor, id: str, given: Mapping[str, str]) -> str | Response:
    days = number(given, "days", what="days") or 90
    another = bool(given.get("secret"))
    made = await operators.renew(visitor.office, visitor.caller, token=id, ttl_s=days * DAY_S, new_secret=another)
    if made.secret is None:
        return "/people?did=renewed"
    return _secret(visitor, f"The token of {made.token.name}", made.secret, "The secret before opens nothing any more.")


async def _ask_revoke(visitor: Visitor, id: str) -> Ask:
    return Ask(
        title="Revoke this token?",
        does=("It opens nothing from now on, and the sessions that were opened with it end. This cannot be undone.",),
        button="Revoke",
        back="/people",
        danger=True,
    )


async def _revoke(visitor: Visitor, id: str, given: Mapping[str, str]) -> str:
    await operators.revoke(visitor.office, visitor.caller, token=id)
    return "/people?did=revoked"


async def _ask_enrol(visitor: Visitor, id: str) -> Ask:
    return Ask(
        title="Enrol a node",
        does=("This makes a join token, and shows the commands to paste on the node's machine.",),
        button="Show the commands",
        back="/fleet",
        fields=(
            FormField(name="name", label="The node's name", help="a-z, 0-9 and -. Empty: the fleet draws one."),
            FormField(name="labels", label="Labels", help="Like site=harbour kind=camera."),
            FormField(name="uses", label="How many nodes may use it", kind="number", value="1", needed=True),
            FormField(name="hours", label="Valid for hours", kind="number", value="1", needed=True),
            FormField(name="address", label="Address of the coordinator", help="HOST:PORT for nodes. Empty: the one it knows."),
        ),
    )


async def _enrol(visitor: Visitor, id: str, given: Mapping[str, str]) -> Response:
    uses, hours = number(given, "uses", what="uses") or 1, number(given, "hours", what="hours") or 1
    name = given.get("name", "").strip()
    made = await tokens.create(
        visitor.office,
        visitor.caller,
        name=name or "by the page",
        ttl_s=hours * 3_600,
        uses=int(uses),
        labels=labels_of(given.get("labels", "")),
        address=given.get("address", "").strip(),
        node_name=name,
    )
    return visitor.page("enrol.html", made=made, name=name if uses == 1 else "")


async def _ask_close(visitor: Visitor, id: str) -> Ask:
    return Ask(
        title="Revoke this join token?",
        does=("No node can enrol with it any more. Nodes that enrolled with it stay.",),
        button="Revoke",
        back="/people",
        danger=True,
    )


async def _close(visitor: Visitor, id: str, given: Mapping[str, str]) -> str:
    await tokens.revoke(visitor.office, visitor.caller, token=id)
    return "/people?did=closed"


async def _ask_webhook(visitor: Visitor, id: str) -> Ask:
    return Ask(
        title="Send events to a URL",
        does=("From now on each event is sent to it, signed, in order, and again where no answer comes.",),
        button="Save",
        back="/people",
        fields=(
            FormField(name="name", label="Name", needed=True),
            FormField(name="url", label="URL", kind="url", needed=True),
            FormField(
                name="events", label="Events", value="rollout.* node.* run.* drift.*", help="Patterns, with spaces between."
            ),
        ),
    )


async def _webhook(visitor: Visitor, id: str, given: Mapping[str, str]) -> str | Response:
    made = await webhooks.save(
        visitor.office,
        visitor.caller,
        name=given.get("name", "").strip(),
        url=given.get("url", "").strip(),
        events=given.get("events", "").split(),
    )
    if made.secret is None:
        return "/people"
    return _secret(visitor, f"The secret of webhook {made.webhook.name}", made.secret, "The receiver checks signatures with it.")


async def _ask_delete(visitor: Visitor, id: str) -> Ask:
    does = ("Nothing is sent to it any more, and what waits to be sent again is given up.",)
    return Ask(title=f"Delete webhook {id[:60]}?", does=does, button="Delete", back="/people", danger=True)


async def _delete(visitor: Visitor, id: str, given: Mapping[str, str]) -> str:
    await webhooks.delete(visitor.office, visitor.caller, name=id)
    return "/people?did=webhook"


def _secret(visitor: Visitor, title: str, secret: str, words: str) -> Response:
    return visitor.page("secret.html", title=title, secret=secret, words=words)


add_action(router, "/people/create", operators.create, _ask_create, _create)
add_action(router, "/people/tokens/{id}/renew", operators.renew, _ask_renew, _renew)
add_action(router, "/people/tokens/{id}/revoke", operators.revoke, _ask_revoke, _revoke)
add_action(router, "/enrol", tokens.create, _ask_enrol, _enrol)
add_action(router, "/people/joins/{id}/revoke", tokens.revoke, _ask_close, _close)
add_action(router, "/people/webhooks", webhooks.save, _ask_webhook, _webhook)
add_action(router, "/people/webhooks/{id}/delete", webhooks.delete, _ask_delete, _delete)
