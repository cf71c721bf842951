"""Sends the events of all webhooks: one coordinator does, with a task for each webhook, so that a slow receiver delays no other.

What a receiver answers with is not followed (redirects) and not read beyond its status. An event counts as delivered after a 2xx.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from littoral.errors import Conflict, FleetError, Unavailable
from littoral_cloud.fleet.controller import BACKOFF, MAX_SLEEP_S
from littoral_cloud.fleet.ledger import Audit, AuditEntry, Fence, Ledger
from littoral_cloud.fleet.nodes import names_of
from littoral_cloud.webhooks.message import body_of, headers_of
from littoral_cloud.webhooks.queue import Queue
from littoral_cloud.webhooks.records import KIND, Webhook, WebhookProgress, read_webhooks, write_progress

if TYPE_CHECKING:
    import httpx

log = logging.getLogger(__name__)

ANSWER_S = 10.0
AT_ONCE = 8
"""Events of one webhook that are under way at one time."""
ACTOR = "webhooks"
_MOST_ANSWER = 200
_PAGE = 200


class WebhookSender:
    """Args:
    clock: seconds since 1970-01-01 UTC.
    rng: for jitter.
    """

    def __init__(self, ledger: Ledger, clock: Callable[[], float], rng: random.Random) -> None:
        self._ledger = ledger
        self._clock = clock
        self._rng = rng

    async def run(self) -> None:
        """Runs until it is cancelled."""
        failures = 0
        while True:
            try:
                async with self._ledger.lease("webhooks") as fence:
                    failures = 0
                    await self._while_held(fence)
            except* (Conflict, Unavailable) as errors:
                pause_s = BACKOFF.pause_s(failures, self._rng)
                log.warning("webhooks: %s; again in %.2f s", errors.exceptions[0], pause_s)
                failures += 1
                await asyncio.sleep(pause_s)

    async def _while_held(self, fence: Fence) -> None:
        running: dict[str, tuple[Webhook, asyncio.Task[None], asyncio.Event]] = {}
        async with self._ledger.watch(KIND, "audit") as news, asyncio.TaskGroup() as tasks:
            heard = {KIND, "audit"}
            while True:
                if KIND in heard:
                    wanted = await read_webhooks(self._ledger)
                    for name, (known, task, _) in [*running.items()]:
                        if name not in wanted or wanted[name][0] != known:
                            task.cancel()
                            del running[name]
                    for name in wanted.keys() - running.keys():
                        webhook, progress = wanted[name]
                        more = asyncio.Event()
                        task = tasks.create_task(self._keep_sending(name, webhook, progress, more, fence), name=f"webhook {name}")
                        running[name] = webhook, task, more
                for _, _, more in running.values():
                    more.set()
                await news.waiting()
                heard = {each.kind for each in news.drain()}

    async def _keep_sending(
        self, name: str, webhook: Webhook, progress: WebhookProgress | None, more: asyncio.Event, fence: Fence
    ) -> None:
        import httpx  # what has no webhook does without

        progress = progress or WebhookProgress(after=webhook.after)
        queue = Queue(progress.after, self._rng)
        async with httpx.AsyncClient(timeout=ANSWER_S, follow_redirects=False, trust_env=False) as http:
            while True:
                more.clear()
                await self._read(queue, webhook)
                due = [entry for entry, _ in zip(queue.due(self._clock()), range(AT_ONCE), strict=False)]
                if due:
                    progress, lines = await self._send(http, webhook, queue, due, progress)
                    await write_progress(self._ledger, name, progress, [replace(line, subject=name) for line in lines], fence)
                elif queue.cursor != progress.after:
                    progress = replace(progress, after=queue.cursor)
                    await write_progress(self._ledger, name, progress, (), fence)
                else:
                    with suppress(TimeoutError):
                        async with asyncio.timeout(min(max(queue.next_at - self._clock(), 0.0), MAX_SLEEP_S)):
                            await more.wait()

    async def _read(self, queue: Queue, webhook: Webhook) -> None:
        while queue.room >= _PAGE and (page := await self._ledger.audit(after=queue.read_to, count=_PAGE)):
            for entry in page:
                queue.read(entry, wanted=webhook.wants(entry.action))

    async def _send(
        self, http: httpx.AsyncClient, webhook: Webhook, queue: Queue, due: Sequence[AuditEntry], progress: WebhookProgress
    ) -> tuple[WebhookProgress, list[Audit]]:
        names = await names_of(self._ledger, (entry.subject for entry in due))
        answers = await asyncio.gather(
            *(attempt(http, webhook, entry, names.get(entry.subject, ""), self._clock()) for entry in due)
        )
        now, lines = self._clock(), []
        for entry, answer in zip(due, answers, strict=True):
            fine = answer.isdigit() and answer.startswith("2")
            since = 0.0 if fine else progress.failing_since or now
            progress = replace(progress, last_at=now, last_answer=answer, failing_since=since)
            if fine:
                queue.done(entry)
                progress = replace(progress, delivered=progress.delivered + 1)
            elif queue.too_old(entry, now):
                queue.done(entry)
                progress = replace(progress, given_up=progress.given_up + 1)
                details = {"event": entry.id, "type": entry.action, "of": entry.subject, "answer": answer}
                lines.append(Audit("webhook.gave-up", "", ACTOR, details))
            else:
                queue.failed(entry, now)
        return replace(progress, after=queue.cursor), lines


async def attempt(http: httpx.AsyncClient, webhook: Webhook, entry: AuditEntry, name: str, now: float) -> str:
    """Sends an event; gives the status that came back, or why none came."""
    import httpx

    body = body_of(entry, name)
    try:
        headers = headers_of(entry.id, body, webhook.secret, now)
        async with http.stream("POST", webhook.url, content=body, headers=headers) as answer:
            return str(answer.status_code)
    except (httpx.HTTPError, httpx.InvalidURL, FleetError) as error:
        return f"{type(error).__name__}: {error}"[:_MOST_ANSWER]
