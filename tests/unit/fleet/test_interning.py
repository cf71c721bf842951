"""Records that are equal are one object, and what is parsed is what was stored."""

from __future__ import annotations

from littoral_cloud.fleet.interning import MOST, Interner
from littoral_cloud.fleet.ledger import Doc
from littoral_cloud.fleet.records import Desired, DesiredModel, Enrolment, Node, Reported, ReportedModel, UpdateState, dump

DIGEST = "sha256:" + "ab" * 32


def desired(generation: int) -> Desired:
    return Desired().with_model("digits", DesiredModel(manifest_digest=DIGEST, rollout_id="r", generation=generation))


def node(id: str) -> Node:
    return Node(
        node_id=id,
        name=id,
        enrolment=Enrolment.ACCEPTED,
        public_key_sha256="",
        certificate_sha256="",
        certificate_expires_at=0.0,
        enrolled_at=0.0,
    )


def test_equal_documents_of_a_kind_that_is_alike_are_one_record() -> None:
    interner = Interner(frozenset({"desired"}), {})
    one = interner.record(Desired, Doc("desired", "a", 1, dump(desired(1))))
    same = interner.record(Desired, Doc("desired", "b", 7, dump(desired(1))))
    other = interner.record(Desired, Doc("desired", "c", 1, dump(desired(2))))
    assert one is same
    assert (one, other) == (desired(1), desired(2))


def test_of_other_kinds_long_texts_are_shared() -> None:
    interner = Interner(frozenset(), {})
    model = ReportedModel(state=UpdateState.SUCCEEDED, desired_generation=1, target=DIGEST, serving=DIGEST)
    stored = [Reported(generation=n, observed_generation=1, models={"digits": model}) for n in (1, 2)]
    read = [interner.record(Reported, Doc("reported", "a", 1, {**dump(each)})) for each in stored]
    assert read == stored
    assert read[0].models["digits"].serving is read[1].models["digits"].target


def test_it_forgets_the_oldest_and_stays_right() -> None:
    interner = Interner(frozenset({"desired"}), {})
    first = interner.record(Desired, Doc("desired", "a", 1, dump(desired(0))))
    for number in range(1, MOST + 1):
        interner.record(Desired, Doc("desired", "a", 1, dump(desired(number))))
    again = interner.record(Desired, Doc("desired", "a", 1, dump(desired(0))))
    assert again == first
    assert again is not first


def test_an_equal_part_of_many_documents_is_one_object() -> None:
    interner = Interner(frozenset(), {"reported": "models"})
    model = ReportedModel(state=UpdateState.SUCCEEDED, desired_generation=1, target=DIGEST, serving=DIGEST)
    stored = [Reported(generation=n, observed_generation=1, models={"digits": model}, problem=str(n)) for n in range(3)]
    stored.append(Reported(generation=9, observed_generation=1))
    read = [interner.record(Reported, Doc("reported", str(n), 1, dump(each))) for n, each in enumerate(stored)]
    assert read == stored
    assert read[0].models is read[1].models is read[2].models
    assert interner.record(Reported, Doc("reported", "3", 1, {"generation": 9, "observed_generation": 1})) == stored[3]


def test_texts_that_only_one_document_has_are_not_remembered() -> None:
    interner = Interner(frozenset(), {})
    bodies = [{**dump(node(f"n{n}")), "certificate_sha256": "".join(["cd"] * 32)} for n in range(2)]
    one, two = (interner.record(Node, Doc("node", body["node_id"], 1, body)) for body in bodies)
    assert one.certificate_sha256 == two.certificate_sha256
    assert one.certificate_sha256 is not two.certificate_sha256
    assert one.labels is two.labels  # nothing is one object, too
