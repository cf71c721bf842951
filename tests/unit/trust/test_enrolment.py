from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from littoral.errors import BadInput, BadToken, Conflict, NotAccepted, NotFound
from littoral.identity import certificate_request, new_node_key
from littoral_cloud.fleet.enrolment import NAME_FORM, Enrolled, EnrolmentRequest, admit, candidate_name, enrol
from littoral_cloud.fleet.issued_tokens import Token, TokenState, create_token, list_tokens, revoke_token, token_id
from littoral_cloud.fleet.ledger import Change, Ledger, Write
from littoral_cloud.fleet.membership import OUT_FOR_EVER
from littoral_cloud.fleet.records import Desired, Enrolment, Node, dump, load
from littoral_cloud.trust.ca import CertificateAuthority, open_ca

pytest_plugins = ("tests.kit.redis",)

NOW = 1_800_000_000.0
RNG = random.Random(3)


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> CertificateAuthority:
    return open_ca(tmp_path_factory.mktemp("ca") / "ca", NOW)


async def token(ledger: Ledger, uses: int = 1, ttl_s: float = 60, name: str = "t", secret: str = "geheim") -> str:
    made, _ = await create_token(ledger, name, ttl_s, uses, {"site": "harbour"}, NOW, lambda _: secret)
    return made


def asks(secret: str, name: str = "", csr: bytes | None = None) -> EnrolmentRequest:
    return EnrolmentRequest(token=secret, certificate_request=csr or certificate_request(new_node_key()), node_name=name)


async def uses_left(ledger: Ledger, secret: str) -> int:
    doc = await ledger.get("token", token_id(secret))
    assert doc is not None
    return load(Token, doc).uses_left


async def node(ledger: Ledger, enrolled: Enrolled) -> Node:
    doc = await ledger.get("node", enrolled.node_id)
    assert doc is not None
    return load(Node, doc)


async def test_a_token_and_a_request_make_a_node_in_one_change(ledger: Ledger, ca: CertificateAuthority) -> None:
    secret = await token(ledger)
    enrolled = await enrol(ledger, ca, asks(secret, "gateway"), NOW, RNG)
    made = await node(ledger, enrolled)
    assert (made.name, made.enrolment, made.labels) == ("gateway", Enrolment.ACCEPTED, {"site": "harbour"})
    assert made.certificate_expires_at > NOW
    desired = await ledger.get("desired", enrolled.node_id)
    assert desired is not None
    assert load(Desired, desired) == Desired()
    assert await uses_left(ledger, secret) == 0
    created, line = await ledger.audit()
    assert (created.action, line.action, line.subject, line.actor) == (
        "token.created",
        "node.enrolled",
        enrolled.node_id,
        "token t",
    )
    assert secret not in str([doc.body for doc in await ledger.all("token")]) + str(line) + str(created)


async def test_asking_again_with_the_same_key_gives_the_same_node_and_spends_nothing(
    ledger: Ledger, ca: CertificateAuthority
) -> None:
    secret = await token(ledger, uses=1)
    request = asks(secret, "gateway")
    first = await enrol(ledger, ca, request, NOW, RNG)
    again = await enrol(ledger, ca, replace(request, node_name="other"), NOW + 5, RNG)
    assert (again.node_id, again.node_name, again.again) == (first.node_id, "gateway", True)
    assert len(await ledger.all("node")) == 1
    assert await uses_left(ledger, secret) == 0
    assert [entry.action for entry in await ledger.audit()] == ["token.created", "node.enrolled", "node.certificate-issued"]


async def test_the_same_key_many_times_at_the_same_moment_is_enrolled_once(
    ledger: Ledger, another: Callable[[], Any], ca: CertificateAuthority
) -> None:
    secret = await token(ledger, uses=3)
    request = asks(secret)
    async with another() as second:
        got = await asyncio.gather(*(enrol(each, ca, request, NOW, RNG) for each in (ledger, second) * 4))
    assert len({enrolled.node_id for enrolled in got}) == 1
    assert [enrolled.again for enrolled in got].count(False) == 1
    assert len(await ledger.all("node")) == 1
    assert await uses_left(ledger, secret) == 2


async def test_of_many_who_want_the_last_use_as_many_get_one_as_there_are(ledger: Ledger, ca: CertificateAuthority) -> None:
    secret = await token(ledger, uses=3)
    got = await asyncio.gather(*(enrol(ledger, ca, asks(secret, "camera"), NOW, RNG) for _ in range(6)), return_exceptions=True)
    enrolled = [each for each in got if isinstance(each, Enrolled)]
    assert len(enrolled) == 3
    assert all(isinstance(each, BadToken) and "spent" in each.message for each in got if not isinstance(each, Enrolled))
    assert sorted(each.node_name for each in enrolled) == ["camera", "camera-2", "camera-3"], "one name each"


@pytest.mark.parametrize("name", ["", "camera"])
async def test_a_hundred_and_fifty_with_one_token_at_the_same_moment_are_all_enrolled(
    ledger: Ledger, another: Callable[[], Any], ca: CertificateAuthority, name: str
) -> None:
    secret = await token(ledger, uses=151)
    taking: set[str] = set()
    async with another() as second:
        got = await asyncio.gather(
            *(
                enrol((ledger, second)[number % 2], ca, asks(secret, name), NOW, random.Random(number), taking)
                for number in range(150)
            )
        )
    assert taking == set()
    assert len({each.node_id for each in got}) == len({each.node_name for each in got}) == 150
    assert await uses_left(ledger, secret) == 1
    assert {each.node_name for each in got} >= ({"camera", "camera-2", "camera-3"} if name else set())


class Counting:
    """A ledger that counts the commits that somebody else was in the way of."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.conflicts = 0

    async def commit(self, change: Change) -> object:
        try:
            return await self._ledger.commit(change)
        except Conflict:
            self.conflicts += 1
            raise

    def __getattr__(self, name: str) -> object:
        return getattr(self._ledger, name)


async def test_of_many_who_want_one_name_at_the_same_moment_nobody_is_in_anothers_way(
    ledger: Ledger, ca: CertificateAuthority
) -> None:
    secret = await token(ledger, uses=40)
    counting: Any = Counting(ledger)
    taking: set[str] = set()
    got = await asyncio.gather(*(enrol(counting, ca, asks(secret, "camera"), NOW, RNG, taking) for _ in range(40)))
    assert len({each.node_name for each in got}) == 40
    assert counting.conflicts == 0


async def test_tokens_are_refused_each_for_its_own_reason(ledger: Ledger, ca: CertificateAuthority) -> None:
    spent = await token(ledger, secret="spent", name="one")
    await enrol(ledger, ca, asks(spent), NOW, RNG)
    with pytest.raises(BadToken, match="one: is spent"):
        await enrol(ledger, ca, asks(spent), NOW, RNG)
    old = await token(ledger, secret="old", name="two", ttl_s=60)
    with pytest.raises(BadToken, match="two: expired 40 s ago"):
        await enrol(ledger, ca, asks(old), NOW + 100, RNG)
    with pytest.raises(BadToken, match="unknown"):
        await enrol(ledger, ca, asks("guessed"), NOW, RNG)
    gone = await token(ledger, secret="gone", name="three")
    await revoke_token(ledger, "three", actor="me")
    with pytest.raises(BadToken, match="revoked"):
        await enrol(ledger, ca, asks(gone), NOW, RNG)
    assert len(await ledger.all("node")) == 1


async def test_a_bad_request_spends_nothing(ledger: Ledger, ca: CertificateAuthority) -> None:
    secret = await token(ledger)
    for bad in (asks(secret, csr=b"no request"), asks(secret, "Not A Name"), asks(secret, "-x"), asks(secret, "x" * 64)):
        with pytest.raises(BadInput):
            await enrol(ledger, ca, bad, NOW, RNG)
    assert await uses_left(ledger, secret) == 1


async def test_a_decommissioned_node_stays_out_and_its_name_is_free(ledger: Ledger, ca: CertificateAuthority) -> None:
    secret = await token(ledger, uses=5)
    request = asks(secret, "gateway")
    first = await enrol(ledger, ca, request, NOW, RNG)
    body = dump(replace(await node(ledger, first), enrolment=Enrolment.DECOMMISSIONED))
    await ledger.commit(Change((Write("node", first.node_id, body, None),)))
    with pytest.raises(NotAccepted, match="gateway: was decommissioned"):
        await enrol(ledger, ca, request, NOW, RNG)
    successor = await enrol(ledger, ca, asks(secret, "gateway"), NOW, RNG)
    assert successor.node_name == "gateway"
    assert successor.node_id != first.node_id


async def test_tokens_are_listed_and_revoked_by_the_beginning_of_their_id(ledger: Ledger) -> None:
    await token(ledger, secret="a", name="same", ttl_s=20)
    await token(ledger, secret="b", name="same", ttl_s=10)
    assert [id for id, _ in await list_tokens(ledger)] == [token_id("b"), token_id("a")]
    with pytest.raises(BadInput, match="2 are 'same'"):
        await revoke_token(ledger, "same", actor="me")
    for nothing in ("zzz", ""):
        with pytest.raises(NotFound):
            await revoke_token(ledger, nothing, actor="me")
    assert await revoke_token(ledger, token_id("a")[:10], actor="me") == token_id("a")
    assert [id for id, _ in await list_tokens(ledger)] == [token_id("b")]


@pytest.mark.parametrize(
    ("ttl_s", "uses", "name"), [(0, 1, "t"), (-1, 1, "t"), (1e9, 1, "t"), (60, 0, "t"), (60, 1, ""), (60, 1, "\x1b[2J")]
)
async def test_tokens_that_make_no_sense_are_refused(ledger: Ledger, ttl_s: float, uses: int, name: str) -> None:
    with pytest.raises(BadInput):
        await create_token(ledger, name, ttl_s, uses, {}, NOW, lambda _: "x")
    assert await list_tokens(ledger) == []


@given(
    uses=st.integers(0, 2),
    left_s=st.sampled_from([-1.0, 0.0, 1.0]),
    known=st.none() | st.sampled_from(list(Enrolment)),
    own_key=st.booleans(),
)
def test_who_is_let_in(uses: int, left_s: float, known: Enrolment | None, own_key: bool) -> None:
    a_token = Token(name="t", expires_at=NOW + left_s, uses_left=uses)
    a_node = known and Node(
        node_id="n",
        name="n",
        enrolment=known,
        public_key_sha256="key" if own_key else "another",
        certificate_sha256="",
        certificate_expires_at=0.0,
        enrolled_at=0.0,
    )
    if left_s <= 0:
        with pytest.raises(BadToken, match="expired"):
            admit(a_token, a_node, "key", NOW)
    elif a_node is not None and (not own_key or known in (*OUT_FOR_EVER, Enrolment.REVOKED)):
        with pytest.raises(NotAccepted):
            admit(a_token, a_node, "key", NOW)
    elif a_node is not None:
        assert admit(a_token, a_node, "key", NOW) is False
    elif uses == 0:
        assert TokenState.of(a_token, NOW) is TokenState.SPENT
        with pytest.raises(BadToken, match="spent"):
            admit(a_token, a_node, "key", NOW)
    else:
        assert admit(a_token, a_node, "key", NOW) is True


@given(wanted=st.just("") | st.from_regex(NAME_FORM, fullmatch=True), attempt=st.integers(0, 19), seed=st.integers(0, 99))
def test_every_name_that_is_tried_is_a_name(wanted: str, attempt: int, seed: int) -> None:
    assert NAME_FORM.fullmatch(candidate_name(wanted, attempt, random.Random(seed)))


async def test_a_fleet_of_many_with_one_wanted_name_all_get_one(ledger: Ledger, ca: CertificateAuthority) -> None:
    secret = await token(ledger, uses=30)
    names = [(await enrol(ledger, ca, asks(secret, "edge-node"), NOW, random.Random(n))).node_name for n in range(12)]
    assert len(set(names)) == 12
    assert names[:3] == ["edge-node", "edge-node-2", "edge-node-3"]
