#!/usr/bin/env python3
"""Exit 0 where the agent in this container answers GET /v2/health/live with 200, else 1 and the reason."""

from __future__ import annotations

import http.client
import os
import ssl
import sys

TIMEOUT_S = 4.0


def main() -> int:
    host, _, port = os.environ.get("LITTORAL_NODE_HTTP", "127.0.0.1:8080").rpartition(":")
    beyond_loopback = not (host == "localhost" or host.startswith("127.") or host == "[::1]")
    if host == "0.0.0.0":  # noqa: S104 - where the agent listens on all addresses, it is asked on this one
        host = "127.0.0.1"
    connection = http.client.HTTPConnection(host, int(port), timeout=TIMEOUT_S)
    if beyond_loopback:  # there the agent speaks TLS, with a certificate of its own; what matters here is that it answers
        unchecked = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        unchecked.check_hostname, unchecked.verify_mode = False, ssl.CERT_NONE
        connection = http.client.HTTPSConnection(host, int(port), timeout=TIMEOUT_S, context=unchecked)
    try:
        connection.request("GET", "/v2/health/live")
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        print(f"{host}:{port}: {error}")
        return 1
    finally:
        connection.close()
    print(f"{host}:{port}: {status}")
    return 0 if status == 200 else 1


if __name__ == "__main__":
    sys.exit(main())
