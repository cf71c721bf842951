"""This node's identity over the agent's life: read in spite of damage, renewed while the certificate counts, and read again after
a new enrolment of the folder. Nothing here ever stops inference.

gRPC looks at certificates at the handshake alone: after a renewal the session opens a new channel, or the cloud would end it when
the old certificate does.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace

import grpc
import grpc.aio

from littoral.backoff import Backoff
from littoral.errors import FleetError, NotAccepted, NotFound, Revoked, Unavailable
from littoral.fleet.v1 import session_pb2
from littoral_node.certificates.anchors import believe, taken_over
from littoral_node.certificates.asking import DIRECT, come_back, next_certificate
from littoral_node.identity.folder import NodeFolder
from littoral_node.identity.identity import FoundIdentity, Identity, Life, life_of
from littoral_node.link.addresses import FleetAddresses
from littoral_node.link.retry import REVOKED_RETRY
from littoral_node.link.session import WayToCloud

LOOK_S = 5.0
"""How often the folder and the certificate's date are looked at."""

AGAIN_S = (60.0, 300.0)
"""Seconds to the next try after a renewal that failed: least and most."""

LONG_AGAIN_S = 12 * 3600.0
"""Where the cloud answers that it is too early, or is older than renewal: a clock is wrong, or an operator has to act."""

RETURN_BACKOFF = Backoff(5.0, 300.0)
_LATER = (grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.INVALID_ARGUMENT)


class CertificateRenewal:
    """Args:
    clock: seconds since 1970-01-01 UTC.
    monotonic, rng: time and chance.
    open_channel: to the fleet listener.
    ask: gives the certificate, PEM, that follows an identity's.
    ask_back: gives an identity whose certificate has ended another one, at one of these enrolment listeners.
    wait: for these seconds, or until the event is set.

    Raises NotFound where the folder is not enrolled.
    """

    def __init__(
        self,
        folder: NodeFolder,
        *,
        clock: Callable[[], float],
        monotonic: Callable[[], float],
        rng: random.Random,
        log: Callable[..., None],
        ask: Callable[[Identity], Awaitable[bytes]] = next_certificate,
        ask_back: Callable[[Identity, Sequence[str], random.Random], Awaitable[Identity]] = come_back,
        open_channel: Callable[[Identity], grpc.aio.Channel] = DIRECT.fleet,
        wait: Callable[[asyncio.Event, float], Awaitable[None]] | None = None,
    ) -> None:
        self._folder = folder
        self._clock = clock
        self._monotonic = monotonic
        self._rng = rng
        self._log = log
        self._ask, self._ask_back, self._open = ask, ask_back, open_channel
        self._tried = 0  # times in a row that the cloud gave none
        self._revoked = 0  # times in a row that it answered that the node was taken out
        self._refusal: tuple[str, str] | None = None  # code and words of the cloud's last refusal, until a Welcome
        self._wait = wait or _wait
        self._wake = asyncio.Event()
        self.addresses = FleetAddresses(folder.coordinators, rng, log)
        self._not_before = float("-inf")  # of the next renewal, on the monotonic clock
        self._logged = ""
        self.identity: Identity | None = None
        self.life: Life | None = None
        self.node_id = self.node_name = ""
        self.signing_keys: dict[str, bytes] = {}
        """Whom to believe; changed in place, never replaced."""
        self._damage = ""
        self._mark = folder.identity_mark()
        self._take(folder.look(serves=True))

    # -- what others ask -------------------------------------------------------------------------------------------

    def barred(self) -> str:
        """Why no session can be opened with this identity; empty: one can."""
        if self.identity is None:
            return f"identity is damaged: {self._damage}; {self._way_back()}"
        if not self.over():
            return ""
        assert self.life is not None
        ended = f"{self.life.describe(self._clock())}, if this machine's clock is right"
        if self._refusal is not None:
            return f"{ended}; {self._refusal[0]}: {self._refusal[1]}"
        return f"{ended}; " + ("it asks for another one" if self.addresses.enrolment else self._way_back())

    def problems(self) -> list[str]:
        """For health and report: what is wrong with the identity, or soon will be."""
        if barred := self.barred():
            return [barred]
        found = [f"identity: {self._damage}; made again from its copy"] if self._damage else []
        if self._refusal is not None:
            found.append(": ".join(self._refusal))
        if self.life is not None and self.life.soon(now := self._clock()):
            found.append(f"{self.life.describe(now)} and was not renewed")
        return found

    def channel(self) -> grpc.aio.Channel:
        """A new connection to the fleet listener. Raises Unavailable where there is no identity to open it with."""
        if self.identity is None:
            raise Unavailable(self.barred())
        return self._open(self._at_current(self.identity))

    def way(self) -> WayToCloud:
        return WayToCloud(self.channel, self.barred, self._learn, self._elsewhere, self._refused)

    def _learn(self, fleet: Iterable[str], enrolment: Iterable[str]) -> None:
        self._refusal = None
        self.addresses.learn(fleet, enrolment)

    def _refused(self, code: str, detail: str) -> None:
        self._refusal = code, detail

    def _elsewhere(self) -> None:
        """The next channel goes to another coordinator, if one is known."""
        if self.identity is not None:
            self.addresses.elsewhere(self.identity.fleet_address)

    def _at_current(self, identity: Identity) -> Identity:
        return replace(identity, fleet_address=self.addresses.current(identity.fleet_address))

    # -- its life --------------------------------------------------------------------------------------------------

    async def run(self, connected: Callable[[], bool], reopen: Callable[[], None]) -> None:
        """Until cancelled.

        Args:
            connected: whether the cloud is there to be asked.
            reopen: opens a new session, with the identity that there is now.
        """
        while True:
            if self._taken_anew():
                reopen()
            if self._due() and connected() and await self._renew():
                reopen()
            if self._may_come_back() and await self._come_back():
                reopen()
            self._log_barred()
            await self._wait(self._wake, LOOK_S)
            self._wake.clear()

    def look_again(self) -> None:
        """The cloud is there: what is due is done at once."""
        self._wake.set()

    def _due(self) -> bool:
        return self.life is not None and self.life.due(self._clock()) and self._monotonic() >= self._not_before

    def over(self) -> bool:
        """Whether the certificate has ended."""
        return self.life is not None and self.life.over(self._clock())

    def _may_come_back(self) -> bool:
        return bool(self.over() and self.addresses.enrolment and self._monotonic() >= self._not_before)

    def _log_barred(self) -> None:
        """Logs one line when no session can be opened any more, not one a try."""
        barred = self.barred()
        if barred and not self._logged:
            over = self.identity is not None
            self._log("certificate-expired" if over else "identity-damaged", node=self.node_name, detail=barred)
        self._logged = barred

    async def _come_back(self) -> bool:
        assert self.identity is not None
        try:
            returned = await self._ask_back(self.identity, self.addresses.enrolment, self._rng)
            self._folder.keep_identity(returned)
        except NotAccepted as error:
            self._refused(error.code, str(error))
            after = REVOKED_RETRY.bound_s(self._revoked) if isinstance(error, Revoked) else AGAIN_S[1]
            self._revoked += isinstance(error, Revoked)
            self._not_renewed(after, f"{error.code}: {error}")
            return False
        except (FleetError, OSError) as error:
            self._tried += 1
            self._not_renewed(RETURN_BACKOFF.pause_s(self._tried, self._rng), str(error))
            return False
        self._take_renewed("certificate-returned")
        return True

    async def _renew(self) -> bool:
        identity = self.identity
        assert identity is not None
        wait = self._rng.uniform(*AGAIN_S)
        try:
            certificate = await self._ask(self._at_current(identity))
            self._folder.keep_identity(replace(self.identity or identity, certificate_pem=certificate))
        except grpc.aio.AioRpcError as error:
            wait = LONG_AGAIN_S if error.code() in _LATER else wait
            self._not_renewed(wait, f"{error.code().name}: {error.details()}")
            return False
        except (FleetError, OSError) as error:
            self._not_renewed(wait, str(error))
            return False
        self._take_renewed("certificate-renewed")
        return True

    def _take_renewed(self, event: str) -> None:
        self._tried, self._revoked, self._refusal = 0, 0, None
        self._not_before = self._monotonic() + LONG_AGAIN_S
        self._mark = self._folder.identity_mark()
        self._take(self._folder.look(serves=True))
        self._log(event, node=self.node_name, detail=self.life.describe(self._clock()) if self.life else "")

    def follow_anchors(self, message: session_pb2.TrustAnchors) -> session_pb2.TrustReport:
        """Takes over the CAs and signing keys of the fleet, and gives the report of it."""
        assert self.identity is not None  # a session is open
        self.identity, report = taken_over(self.identity, message, self._folder.keep_identity, self._log)
        believe(self.signing_keys, self.identity.signing_keys)
        return report

    def _not_renewed(self, wait_s: float, why: str) -> None:
        self._not_before = self._monotonic() + wait_s
        assert self.life is not None
        detail = f"{self.life.describe(self._clock())}: {why}"
        self._log("certificate-not-renewed", node=self.node_name, detail=detail, after_s=round(wait_s))

    # -- the folder ------------------------------------------------------------------------------------------------

    def _taken_anew(self) -> bool:
        """Whether the folder has another identity, which is this agent's from now on."""
        if (mark := self._folder.identity_mark()) == self._mark:
            return False
        self._mark = mark
        try:
            found = self._folder.look(serves=True)
        except NotFound as error:
            self._log("identity-unreadable", detail=str(error))
            return False
        if found.identity is None or found.identity == self.identity:
            return False  # half of it is written: the other half comes, or the next start names what is wrong
        if self.identity is not None and found.identity.node_id != self.identity.node_id:
            detail = f"the folder is another node's now ({found.node_name}): start this agent again to be that one"
            self._log("identity-changed", node=self.node_name, detail=detail)
            return False
        self._not_before, self._refusal = float("-inf"), None
        self._take(found)
        self._log("identity-taken", node=self.node_name, detail=self.life.describe(self._clock()) if self.life else "")
        return True

    def _take(self, found: FoundIdentity) -> None:
        self.identity, self._damage = found.identity, found.damage
        self.node_id, self.node_name = found.node_id, found.node_name
        believe(self.signing_keys, found.signing_keys)
        self.life = None
        if found.identity is None:
            return
        try:
            self.life = life_of(found.identity.certificate_pem)
        except ValueError as error:  # the cloud decides
            self._log("certificate-unreadable", detail=str(error))
        if found.mended:
            self._mend(found)

    def _mend(self, found: FoundIdentity) -> None:
        assert found.identity is not None
        if found.damage:
            self._log("identity-mended", node=found.node_name, detail=f"{found.damage}; made again from its copy")
        try:
            self._folder.keep_identity(found.identity)
            self._mark = self._folder.identity_mark()
        except OSError as error:
            self._log("identity-not-mended", detail=str(error))

    def _way_back(self) -> str:
        return (
            "a new join line brings this node back under its id: `littoral-cloud token create` there, then "
            f"`littoral-node enroll JOIN_LINE --data {self._folder.root}` here"
        )


async def _wait(event: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
