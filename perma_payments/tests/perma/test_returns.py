"""Where a customer goes after a checkout (perma-2026.md §7)."""

import pytest

from perma_payments.billing.transactions import Kind
from perma_payments.perma.returns import Ending, address

PAGE = "https://perma.example/settings/usage-plan/"


@pytest.mark.parametrize(
    ("kind", "ending", "query"),
    [
        (Kind.SUBSCRIBE, Ending.SUCCESS, "?subscription=success"),
        (Kind.SUBSCRIBE, Ending.CANCELED, "?subscription=canceled"),
        (Kind.PURCHASE, Ending.SUCCESS, "?purchase=success"),
        (Kind.PURCHASE, Ending.CANCELED, "?purchase=canceled"),
        (Kind.CHANGE, Ending.SUCCESS, "?change=success"),
        (Kind.CHANGE, Ending.CANCELED, ""),
        (Kind.CHANGE, Ending.TAKEN_BACK, "?change=canceled"),
        (Kind.UPDATE, Ending.SUCCESS, "?update=success"),
        (Kind.UPDATE, Ending.CANCELED, ""),
    ],
)
def test_the_page_is_told_what_it_has_a_message_for(kind, ending, query):
    assert address(PAGE, kind, ending) == PAGE + query
