"""A real OpenID provider, canaille, with two people, one of them in a group: python identity_provider.py PORT REDIRECT_URI

It runs in an environment of its own: its package brings a folder `tests` that would hide ours.
"""

import sys
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

PASSWORD = "correct horse battery staple"
SECRET = "not-known-to-anybody"


class Threads(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class Quiet(WSGIRequestHandler):
    def log_message(self, *_: Any) -> None: ...


def populated(issuer: str, redirect: str) -> Any:
    from canaille import create_app
    from canaille.app import models
    from canaille.backends import Backend
    from joserfc import jwk

    permissions = {"PERMISSIONS": ["use_oidc", "edit_self"], "READ": ["user_name", "groups"], "WRITE": []}
    keys = [jwk.RSAKey.generate_key(2048, auto_kid=True).as_dict(private=True)]
    app = create_app(
        config={
            "SECRET_KEY": "of the tests alone, forty letters long...",
            "SERVER_NAME": issuer.removeprefix("http://"),
            "PREFERRED_URL_SCHEME": "http",
            "CANAILLE": {"DATABASE": "memory", "ACL": {"DEFAULT": permissions}, "HTMX": False, "SMTP": None},
            "CANAILLE_OIDC": {"REQUIRE_NONCE": True, "TRUSTED_DOMAINS": ["fleet.example"], "ACTIVE_JWKS": keys},
        }
    )
    with app.app_context():
        store = Backend.instance
        people = {}
        for name in ("ada", "eve"):
            people[name] = models.User(
                formatted_name=name.title(),
                family_name=name,
                user_name=name,
                display_name=name,
                emails=[f"{name}@example.org"],
                password=PASSWORD,
            )
            store.save(people[name])
        store.save(models.Group(display_name="fleet-operators", members=[people["ada"]]))
        store.save(
            models.Client(
                client_id="littoral",
                client_secret=SECRET,
                client_name="Littoral",
                client_uri="https://fleet.example",
                contacts=["ada@example.org"],
                redirect_uris=[redirect],
                grant_types=["authorization_code"],
                response_types=["code"],
                scope=["openid", "profile", "groups", "email"],
                token_endpoint_auth_method="client_secret_basic",
            )
        )
    return app


def main() -> None:
    port, redirect = sys.argv[1:]
    app = populated(f"http://127.0.0.1:{port}", redirect)
    make_server("127.0.0.1", int(port), app, Threads, Quiet).serve_forever()


if __name__ == "__main__":
    main()
