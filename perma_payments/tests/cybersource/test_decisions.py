"""What CyberSource's decisions say about the money."""

import pytest

from perma_payments.cybersource.decisions import Verdict, read_decision


@pytest.mark.parametrize(
    ("decision", "reason_code", "in_full", "verdict"),
    [
        ("ACCEPT", "100", True, Verdict.PAID),
        ("ACCEPT", "", True, Verdict.PAID),
        ("ACCEPT", "999", True, Verdict.PAID),
        ("ACCEPT", "110", True, Verdict.PARTIAL_APPROVAL),
        ("ACCEPT", "110", None, Verdict.PARTIAL_APPROVAL),
        ("ACCEPT", "100", False, Verdict.PARTIAL_APPROVAL),
        ("ACCEPT", "100", None, Verdict.UNREADABLE_AMOUNT),
        ("REVIEW", "480", True, Verdict.HELD),
        ("REVIEW", "", True, Verdict.HELD),
        ("REVIEW", "110", True, Verdict.PARTIAL_APPROVAL),
        ("REVIEW", "480", False, Verdict.PARTIAL_APPROVAL),
        ("REVIEW", "480", None, Verdict.UNREADABLE_AMOUNT),
        ("DECLINE", "203", True, Verdict.DECLINED),
        ("DECLINE", "104", True, Verdict.DECLINED),
        ("DECLINE", "110", False, Verdict.DECLINED),
        ("ERROR", "102", True, Verdict.FAILED),
        ("ERROR", "", None, Verdict.FAILED),
        ("ERROR", "１０４", True, Verdict.FAILED),
        ("ERROR", "104", True, Verdict.INDETERMINATE),
        ("ERROR", "150", True, Verdict.INDETERMINATE),
        ("ERROR", "151", True, Verdict.INDETERMINATE),
        ("ERROR", "152", True, Verdict.INDETERMINATE),
        ("CANCEL", "", True, Verdict.ABANDONED),
        ("CANCEL", "150", True, Verdict.ABANDONED),
    ],
)
def test_a_decision_says_what_became_of_the_money(decision, reason_code, in_full, verdict):
    assert read_decision(decision, reason_code, in_full=in_full) is verdict


@pytest.mark.parametrize("decision", ["", "accept", "ACCEPT ", " ACCEPT", "ACCEPTED", "ACCEPT,REVIEW", "DECLINED"])
def test_any_other_decision_is_unknown(decision):
    assert read_decision(decision, "100", in_full=True) is Verdict.UNKNOWN
