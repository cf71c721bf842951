"""Who may ask this node what.

On loopback every program on the machine may do anything, but a web page that is open in a browser on it may not: it would ask
under a name of its own (DNS rebinding) or across origins, and a browser says so. As soon as a listener is reachable from
elsewhere, callers need the token and the connection TLS, and models are not loaded or unloaded unless that was allowed.
"""

from __future__ import annotations

import hmac
import os
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address
from pathlib import Path

from littoral.errors import BadInput, FleetError
from littoral.transport import is_loopback
from littoral_node.serving.service import Forbidden

MIN_TOKEN = 16
"""Characters."""
_SCHEME = "Bearer "
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://(\[[^\]]*\]|[^/:@]*)(:[0-9]*)?")


class NoToken(FleetError):
    """The caller shows no token, or a wrong one."""

    code = "no-token"


class Misdirected(FleetError):
    """A request names another host than the machine that it has reached."""

    code = "misdirected"


@dataclass(frozen=True, slots=True)
class Access:
    """Of one listener. `token` None: callers need none, and requests of web pages are refused."""

    token: str | None = None
    repository: bool = True  # models may be loaded and unloaded

    def check_page(self, authority: str, headers: Mapping[str, str]) -> None:
        """Raises Misdirected, Forbidden where a web page from elsewhere asks, or may; what asks by itself names this machine.

        Args:
            authority: host, or host:port, as the request names it; "": it names none.
            headers: by names in lower case.
        """
        if self.token is not None:
            return
        if (authority or "host" in headers) and not is_here(authority):
            raise Misdirected(
                f"host: {authority[:80]!r} is not this machine", hint="ask for localhost, or for an address of this machine"
            )
        if (site := headers.get("sec-fetch-site")) is not None and site.lower() == "cross-site":
            raise Forbidden("sec-fetch-site: cross-site: pages of other sites may not ask this node", hint=_PAGES)
        if (origin := headers.get("origin")) is not None:
            named = _ORIGIN.fullmatch(origin.lower())
            if named is None or not named[1] or not is_here(named[1]):
                raise Forbidden(f"origin: {origin[:80]!r}: pages from elsewhere may not ask this node", hint=_PAGES)

    def check(self, authorization: str | None) -> None:
        """Raises NoToken.

        Args:
            authorization: the header's value, or the metadata's of that name.
        """
        if self.token is None:
            return
        given = (authorization or "").removeprefix(_SCHEME)
        if not hmac.compare_digest(given.encode(), self.token.encode()):
            raise NoToken(f"authorization: {'is wrong' if authorization else 'is missing'}", hint="authorization: Bearer TOKEN")

    def check_repository(self) -> None:
        """Raises Forbidden."""
        if not self.repository:
            raise Forbidden(
                "repository: from elsewhere models are loaded and unloaded only where the node runs with --allow-load on",
                hint="ask on the node itself, over loopback",
            )


_PAGES = "ask from a program, or listen with a token (--token-file)"


@lru_cache(256)
def is_here(authority: str) -> bool:
    """Whether a host, or host:port, is a name or an address of this machine. Names are not looked up."""
    host = authority.lower()
    host = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0].removesuffix(".")
    name = socket.gethostname().lower()
    if host in ("localhost", name, name.partition(".")[0]) or host.endswith(".localhost"):
        return True
    try:
        address = ip_address(host)
    except ValueError:
        return False
    if address.is_loopback:
        return True
    if address.is_unspecified or address.is_multicast:
        return False
    try:
        with socket.socket(socket.AF_INET if address.version == 4 else socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.bind((host, 0))  # only an address of its own can be
    except OSError:
        return False
    return True


def token_in(path: Path, way_out: str) -> str:
    """The token in a file. Raises BadInput: it cannot be read, is too short, or others on this machine may read it."""
    try:
        token = path.read_text(encoding="utf-8").strip()
        mode = path.stat().st_mode
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"token-file {path}: cannot be read: {error}", hint=way_out) from error
    if len(token) < MIN_TOKEN or not token.isascii() or any(c.isspace() for c in token):
        raise BadInput(f"token-file {path}: must hold one word of at least {MIN_TOKEN} ASCII characters", hint=way_out)
    if mode & 0o004 and path.stat().st_uid == os.getuid():
        raise BadInput(f"token-file {path}: every user of this machine may read it", hint=f"chmod 600 {path}")
    return token


def access_of(host: str, listens: str, token_file: Path | None, *, allow_load: bool) -> Access:
    """What a listener on this host asks of its callers. Raises BadInput where it would have to ask for a token and has none.

    Args:
        listens: the setting of the host, with its value.
    """
    if is_loopback(host):
        return Access()
    way_out = "head -c 24 /dev/urandom | base64 > FILE; chmod 600 FILE; then --token-file FILE; or listen on 127.0.0.1"
    if token_file is None:
        raise BadInput(f"{listens}: can be reached from elsewhere, and no token is set (token-file)", hint=way_out)
    return Access(token_in(token_file, way_out), allow_load)
