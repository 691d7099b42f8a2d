"""The table of docs/statuses.md, cell by cell, written out by hand."""

import pytest

from perma_payments.billing.transactions import Kind
from perma_payments.cybersource.decisions import Concern, Effect, Finding, Outcome, find, outcome

# Decision, reason code, whether all was authorized: what that does to each kind, and what a person must see to.
TABLE = {
    Kind.SUBSCRIBE: [
        ("ACCEPT", "100", True, Effect.ACTIVATE, None),
        ("ACCEPT", "110", True, Effect.NONE, Concern.PARTIAL_APPROVAL),
        ("ACCEPT", "100", False, Effect.NONE, Concern.PARTIAL_APPROVAL),
        ("REVIEW", "480", True, Effect.ACTIVATE, Concern.HELD_FOR_REVIEW),
        ("DECLINE", "203", True, Effect.REFUSE, None),
        ("ERROR", "102", True, Effect.REFUSE, Concern.CHECKOUT_FAILED),
        ("ERROR", "104", True, Effect.NONE, Concern.INDETERMINATE),
        ("ERROR", "150", True, Effect.NONE, Concern.INDETERMINATE),
        ("ERROR", "151", True, Effect.NONE, Concern.INDETERMINATE),
        ("ERROR", "152", True, Effect.NONE, Concern.INDETERMINATE),
        ("CANCEL", "", True, Effect.ABORT, None),
        ("OTHER", "100", True, Effect.NONE, Concern.UNKNOWN_DECISION),
    ],
    Kind.CHANGE: [
        ("ACCEPT", "100", True, Effect.TAKE_TERMS, None),
        ("ACCEPT", "110", True, Effect.NONE, Concern.PARTIAL_APPROVAL),
        ("ACCEPT", "100", False, Effect.NONE, Concern.PARTIAL_APPROVAL),
        ("REVIEW", "480", True, Effect.TAKE_TERMS, Concern.HELD_FOR_REVIEW),
        ("DECLINE", "203", True, Effect.NONE, None),
        ("ERROR", "102", True, Effect.NONE, Concern.CHECKOUT_FAILED),
        ("ERROR", "104", True, Effect.NONE, Concern.INDETERMINATE),
        ("ERROR", "150", True, Effect.NONE, Concern.INDETERMINATE),
        ("ERROR", "151", True, Effect.NONE, Concern.INDETERMINATE),
        ("ERROR", "152", True, Effect.NONE, Concern.INDETERMINATE),
        ("CANCEL", "", True, Effect.NONE, None),
        ("OTHER", "100", True, Effect.NONE, Concern.UNKNOWN_DECISION),
    ],
    Kind.UPDATE: [
        ("ACCEPT", "100", True, Effect.TAKE_TOKEN, None),
        ("ACCEPT", "110", True, Effect.NONE, Concern.PARTIAL_APPROVAL),
        ("ACCEPT", "100", False, Effect.NONE, Concern.PARTIAL_APPROVAL),
        ("REVIEW", "480", True, Effect.NONE, Concern.HELD_FOR_REVIEW),
        ("DECLINE", "203", True, Effect.NONE, None),
        ("ERROR", "102", True, Effect.NONE, Concern.CHECKOUT_FAILED),
        ("ERROR", "104", True, Effect.NONE, Concern.INDETERMINATE),
        ("ERROR", "150", True, Effect.NONE, Concern.INDETERMINATE),
        ("ERROR", "151", True, Effect.NONE, Concern.INDETERMINATE),
        ("ERROR", "152", True, Effect.NONE, Concern.INDETERMINATE),
        ("CANCEL", "", True, Effect.NONE, None),
        ("OTHER", "100", True, Effect.NONE, Concern.UNKNOWN_DECISION),
    ],
    Kind.PURCHASE: [
        ("ACCEPT", "100", True, Effect.PAY, None),
        ("ACCEPT", "110", True, Effect.NONE, Concern.PARTIAL_APPROVAL),
        ("ACCEPT", "100", False, Effect.NONE, Concern.PARTIAL_APPROVAL),
        ("REVIEW", "480", True, Effect.PAY, Concern.HELD_FOR_REVIEW),
        ("DECLINE", "203", True, Effect.REFUSE, None),
        ("ERROR", "102", True, Effect.REFUSE, Concern.CHECKOUT_FAILED),
        ("ERROR", "104", True, Effect.NONE, Concern.INDETERMINATE),
        ("ERROR", "150", True, Effect.NONE, Concern.INDETERMINATE),
        ("ERROR", "151", True, Effect.NONE, Concern.INDETERMINATE),
        ("ERROR", "152", True, Effect.NONE, Concern.INDETERMINATE),
        ("CANCEL", "", True, Effect.ABORT, None),
        ("OTHER", "100", True, Effect.NONE, Concern.UNKNOWN_DECISION),
    ],
}


@pytest.mark.parametrize(
    "kind, decision, reason_code, in_full, effect, concern",
    [(kind, *row) for kind, rows in TABLE.items() for row in rows],
)
def test_the_table_says_what_a_decision_does(kind, decision, reason_code, in_full, effect, concern):
    assert outcome(kind, find(decision, reason_code, in_full=in_full)) == Outcome(effect, concern)


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("finding", Finding)
def test_no_cell_of_the_table_is_empty(kind, finding):
    assert isinstance(outcome(kind, finding), Outcome)


@pytest.mark.parametrize(
    "decision, finding",
    [
        ("ACCEPT", Finding.PAID),
        ("REVIEW", Finding.HELD),
        ("DECLINE", Finding.DECLINED),
        ("ERROR", Finding.FAILED),
        ("CANCEL", Finding.CANCELED),
    ],
)
@pytest.mark.parametrize("reason_code", ["", "999", "100", "203", "words", "１０４"])
def test_where_the_reason_code_is_unknown_the_decision_decides(decision, finding, reason_code):
    assert find(decision, reason_code) == finding


def test_a_review_of_part_of_the_amount_is_partly_paid():
    assert find("REVIEW", "110") == find("REVIEW", "480", in_full=False) == Finding.PARTIAL_APPROVAL


@pytest.mark.parametrize("decision, finding", [("DECLINE", Finding.DECLINED), ("CANCEL", Finding.CANCELED)])
@pytest.mark.parametrize("reason_code", ["104", "110", "150"])
def test_reason_codes_that_change_the_meaning_of_accept_or_error_change_no_other(decision, finding, reason_code):
    assert find(decision, reason_code) == finding


@pytest.mark.parametrize("decision", ["", "accept", "ACCEPT ", " ACCEPT", "ACCEPTED", "ACCEPT,REVIEW", "DECLINED"])
def test_any_other_decision_is_unknown(decision):
    assert find(decision, "100") == Finding.UNKNOWN
