"""What the ledger holds of a webhook: what an admin wants (operators write it), how far it has come (the sender writes it)."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from ipaddress import ip_address
from urllib.parse import urlsplit

from littoral.errors import BadInput, NotFound
from littoral_cloud.fleet.actions import ACTIONS, no_such_action
from littoral_cloud.fleet.edit import edit
from littoral_cloud.fleet.ledger import Audit, Change, Ledger, Write
from littoral_cloud.fleet.names import checked_name
from littoral_cloud.fleet.records import dump, load

KIND = "webhook"
PROGRESS = "webhook-progress"
USUAL = ("rollout.*", "drift.*", "node.*", "run.*")
NEVER_SENT = "webhook."
"""Actions that begin so are about webhooks: a failure that is sent, and fails, would have no end."""
SECRET_PREFIX = "whsec_"  # noqa: S105 - of the specification
_SENT = frozenset(action for action in ACTIONS if not action.startswith(NEVER_SENT))
_PATTERN = re.compile(r"[a-z0-9*][a-z0-9*.-]{0,59}")
_MOST_PATTERNS = 32
_MOST_URL = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """`events`: patterns of actions. `secret`: "whsec_" and 32 bytes in base64. `after`: the last line when it was made."""

    url: str
    events: tuple[str, ...]
    secret: str
    after: str
    created_at: float
    created_by: str
    schema: int = 1

    def wants(self, action: str) -> bool:
        return not action.startswith(NEVER_SENT) and any(fnmatchcase(action, pattern) for pattern in self.events)


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookProgress:
    """`after`: every line up to this one was delivered or given up. `failing_since` 0: the last attempt succeeded."""

    after: str
    delivered: int = 0
    given_up: int = 0
    last_at: float = 0.0  # of the last attempt; 0: there was none
    last_answer: str = ""  # "200", or why there was none
    failing_since: float = 0.0
    schema: int = 1


def checked_url(url: str) -> str:
    """Raises BadInput where it is no https:// address, nor http:// on this machine."""
    try:
        parts = urlsplit(url)
        port_is_right = parts.port is None or parts.port > 0
    except ValueError:
        parts, port_is_right = urlsplit(""), False
    here = parts.hostname == "localhost" or _is_loopback(parts.hostname or "")
    right = parts.hostname and port_is_right and not parts.username and not parts.fragment and len(url) <= _MOST_URL
    if not right or parts.scheme not in ("https", "http") or (parts.scheme == "http" and not here) or not url.isprintable():
        raise BadInput(f"url: {url[:200]!r} is no https:// address", hint="like https://ops.example.org/littoral")
    return url


def checked_events(events: Sequence[str]) -> tuple[str, ...]:
    """Raises BadInput."""
    wrong = next((each for each in events if not _PATTERN.fullmatch(each)), None)
    if wrong is not None:
        raise BadInput(f"events: {wrong[:80]!r} is no pattern of actions", hint="like rollout.* or node.enrolled")
    for each in events:
        if (unknown := no_such_action(each, _SENT)) is not None:
            raise BadInput(f"events: {unknown.message}", hint=unknown.hint)
    if not 1 <= len(events) <= _MOST_PATTERNS:
        raise BadInput(f"events: {len(events)} are not from 1 to {_MOST_PATTERNS}", hint=f"like {', '.join(USUAL)}")
    return tuple(events)


async def save_webhook(
    ledger: Ledger, name: str, url: str, events: Sequence[str], now: float, new_secret: Callable[[], str], actor: str
) -> tuple[Webhook, bool]:
    """Makes a webhook, or changes where one goes and what it is sent; gives it, and whether its secret is new."""
    checked_name("webhook", name)
    last = await ledger.audit_last()
    fresh = Webhook(
        url=checked_url(url),
        events=checked_events(events),
        secret=new_secret(),
        after=last.id if last is not None else "-",
        created_at=now,
        created_by=actor,
    )

    def saved(before: Webhook | None) -> Webhook:
        if before is None:
            return fresh
        return Webhook(
            url=fresh.url,
            events=fresh.events,
            secret=before.secret,
            after=before.after,
            created_at=before.created_at,
            created_by=before.created_by,
        )

    line = Audit("webhook.saved", name, actor, {"url": fresh.url, "events": list(fresh.events)})
    edited = await edit(ledger, Webhook, KIND, name, saved, lambda before, after: (line,))
    assert edited.record is not None
    return edited.record, edited.record.secret == fresh.secret


async def delete_webhook(ledger: Ledger, name: str, actor: str) -> None:
    """Raises NotFound."""
    if (doc := await ledger.get(KIND, name)) is None:
        raise no_webhook(name)
    writes = (Write(KIND, name, None, doc.generation), Write(PROGRESS, name, None, None))
    await ledger.commit(Change(writes, (Audit("webhook.deleted", name, actor),)))


async def read_webhooks(ledger: Ledger) -> dict[str, tuple[Webhook, WebhookProgress | None]]:
    """All, by name."""
    docs = await ledger.all(KIND)
    far = await ledger.get_many([(PROGRESS, doc.id) for doc in docs]) if docs else ()
    return {
        doc.id: (load(Webhook, doc), load(WebhookProgress, progress) if progress is not None else None)
        for doc, progress in zip(docs, far, strict=True)
    }


async def write_progress(ledger: Ledger, name: str, progress: WebhookProgress, lines: Sequence[Audit], fence: object) -> None:
    """Raises LostLease where another coordinator sends now."""
    write = Write(PROGRESS, name, dump(progress), None)
    await ledger.commit(Change((write,), tuple(lines)), fence=fence)  # type: ignore[arg-type]


def no_webhook(name: str) -> NotFound:
    return NotFound(f"webhook: none is called {name[:80]!r}", hint="see `littoral-cloud webhook list`")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
