"""A transaction copied from the Business Center is read, without the names in it."""

from datetime import date
from decimal import Decimal

import pytest

from perma_payments.cybersource.transaction_search import Transaction, Unreadable, read_transaction

HEADER = (
    "Merchant ID,Date and Time,Request ID,Merchant Reference Number,Last Name,First Name,Email Address,Amount,"
    "Currency,Account Suffix,Applications"
)
ROW = (
    'example,Dec 01 2026 06:26:15 PM,7408214003316000001234,PERMA-1234-5678,"Exámple, Jr.",Erin,'
    "erin@customer.example,15.00,USD,1111,Credit Card Settlement"
)
FOUND = Transaction("7408214003316000001234", "PERMA-1234-5678", Decimal("15.00"), date(2026, 12, 1))


@pytest.mark.parametrize(
    "text",
    [
        f"{HEADER}\n{ROW}",
        f"\n\n{HEADER}\r\n{ROW}\r\n\n",
        f"Transaction Search Results\n{HEADER}\n{ROW}",
        f"{HEADER.upper()}\n{ROW}",
        f"{HEADER}\n{ROW}".replace('"Exámple, Jr."', "Exámple").replace(",", "\t"),
        "batch_id,merchant_id,batch_date,request_id,merchant_ref_number,trans_ref_no,payment_method,currency,"
        "amount,transaction_type\n"
        "1,example,2026-12-01,7408214003316000001234,PERMA-1234-5678,9,VISA,USD,15.00,Sale",
    ],
)
def test_a_header_and_a_row_are_read(text):
    assert read_transaction(text) == FOUND


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no row with the names"),
        (ROW, "no row with the names"),
        (HEADER, "exactly one transaction"),
        (f"{HEADER}\n{ROW}\n{ROW}", "exactly one transaction"),
        (f"{HEADER}\nexample,Dec 01 2026 06:26:15 PM", "shorter than"),
        (f"{HEADER}\n{ROW.replace('USD', 'EUR')}", "The currency is not USD"),
        (f"{HEADER}\n{ROW.replace('15.00', 'fifteen')}", "The amount can't be read"),
        (f"{HEADER}\n{ROW.replace('Dec 01 2026 06:26:15 PM', 'yesterday')}", "The date can't be read"),
        (f"{HEADER}\n{ROW}" + " " * 10_000, "too long"),
    ],
)
def test_what_is_not_one_transaction_is_refused_without_quoting_it(text, why):
    with pytest.raises(Unreadable, match=why) as refusal:
        read_transaction(text)
    assert "Erin" not in str(refusal.value)
