"""Lines of the audit trail, as the page and the command write them."""

from __future__ import annotations

from littoral_cloud.cli.audit import row_of
from littoral_cloud.commands.audit import AuditLine, ids_in
from littoral_cloud.fleet.ledger import AuditEntry
from littoral_cloud.web.pages.audit import words_of

ID = "b84b87979c0e4c4a9c33"
KEY = ID + "0f" * 22
"""A node's id is how the fingerprint of its key begins."""


def test_a_name_stands_beside_an_id_and_changes_no_text_that_has_one_inside() -> None:
    details = {"key": KEY, "node": ID, "took": [ID, f"{ID}:cells"], "why": f"{ID} is away"}
    line = AuditLine(
        id="1-0", at=0.0, action="node.enrolled", subject=ID, actor="ana", details=details, chain="", names={ID: "kitchen"}
    )
    named = f"{ID} (kitchen)"
    assert words_of(line) == f"key {KEY}; node {named}; took [{named}, {ID}:cells]; why {ID} is away"
    row = row_of({"at": 0.0, "action": line.action, "subject": ID, "actor": "ana", "details": details, "names": line.names})
    assert f"  {named}  by ana  key={KEY} node={named} took=['{named}', '{ID}:cells'] why={ID} is away" in row


def test_only_whole_values_are_looked_up_as_ids() -> None:
    details = {"key": KEY, "nodes": [ID], "why": f"sha256:{'a' * 64} is bad"}
    assert ids_in(AuditEntry("1-0", 0.0, "node.enrolled", "t1", "ana", details, "")) == ["t1", "ana", ID]


def test_times_are_texts_in_utc_and_what_is_empty_is_left_out() -> None:
    details: dict[str, object] = {
        "expires_at": 1796150000.0,
        "until": None,
        "remarks": [],
        "expected": "",
        "labels": {},
        "uses": 0,
        "new_secret": False,
        "expired_at": 0.0,
        "waited_s": 1_234_567.0,
        "share": 0.25,
    }
    line = AuditLine(id="1-0", at=0.0, action="token.created", subject="t", actor="ana", details=details, chain="")
    assert words_of(line) == ("expires at 2026-12-01 18:33:20; uses 0; new secret no; expired at –; waited s 1234567; share 0.25")
