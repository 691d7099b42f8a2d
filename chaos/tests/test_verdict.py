"""A record and a ledger that agree; each test breaks one thing in the ledger, as a fault of the service would."""

from copy import deepcopy
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from urllib.parse import urlencode

import pytest

from chaos.ledger import Ledger
from chaos.record import CHANGE, PURCHASE, SUBSCRIBE, UPDATE, Cancellation, Checkout, Record, SentResponse, Told
from chaos.verdict import ARCHIVE, compare, expected_subscription, promises_kept
from sandbox.cybersource.form import AcceptedForm
from sandbox.perma.store import REGISTRAR, Customer, Plan

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
EDNA, OTTO = Customer(REGISTRAR, 1, "Edna"), Customer(REGISTRAR, 2, "Otto")
SMALL, LARGE = Plan("10", "monthly", Decimal("20.00")), Plan("500", "monthly", Decimal("120.00"))


def sent(decision: str, number: int, *, token: str = "", second: int = 0, reason: str = "100") -> SentResponse:
    fields = {
        "decision": decision,
        "reason_code": reason,
        "transaction_id": str(number),
        "signed_date_time": f"{NOW + timedelta(seconds=second):%Y-%m-%dT%H:%M:%SZ}",
        **({"payment_token": token} if token else {}),
    }
    return SentResponse(list(fields.items()), [("utf8", "✓"), *fields.items()], promised=True)


def checkout(kind: str, reference: str, *responses: SentResponse, customer: Customer = EDNA, **more) -> Checkout:
    fields = {"transaction_uuid": f"{kind} {reference}", "reference_number": reference}
    form = AcceptedForm(path="/pay", fields=fields, invalid_fields=(), notes=())
    return Checkout(kind, customer, form, responses=list(responses), **more)


def response_row(number: int, of: Checkout, response: SentResponse) -> dict:
    return {
        "id": number,
        "transaction_uuid": of.uuid,
        "transaction_id": response.transaction_id,
        "decision": response.decision,
        "applied_at": NOW,
        "sealed": ARCHIVE.encrypt(urlencode(response.by_browser).encode()),
    }


def agreement_row(number: int, reference: str, status: str = "Current", **columns) -> dict:
    return {
        "id": number,
        "reference_number": reference,
        "customer_type": REGISTRAR,
        "customer_pk": 1,
        "status": status,
        "current_rate": SMALL.price,
        "current_link_limit": SMALL.link_limit,
        "scheduled_rate": None,
        "scheduled_link_limit": None,
        "payment_token": "t1",
        "cancellation_requested_at": None,
        **columns,
    }


def task_row(number: int, kind: str, **columns) -> dict:
    names = ("agreement_id", "purchase_id", "response_id", "done_at", "reopened_at")
    return {"id": number, "kind": kind, "opened_at": NOW, "resolution": "", **dict.fromkeys(names), **columns}


def mail_about(number: int, more: str = "") -> str:
    return f"<staff-task-{number}-{NOW.timestamp():.6f}{more}@perma.example>"


class Case:
    """Edna subscribed, asked to cancel, and bought twice; the second purchase was credited. Otto was declined."""

    def __init__(self) -> None:
        subscribed = checkout(SUBSCRIBE, "A", sent("ACCEPT", 11, token="t1"), plan=SMALL)
        first = checkout(PURCHASE, "P", sent("ACCEPT", 12), link_quantity=10)
        second = checkout(PURCHASE, "Q", sent("REVIEW", 13, reason="480"), link_quantity=100)
        declined = checkout(SUBSCRIBE, "D", sent("DECLINE", 14, reason="203"), customer=OTTO, plan=SMALL)
        self.record = Record(checkouts=[subscribed, first, second, declined], customers=[EDNA, OTTO])
        self.record.cancellations[EDNA] = Cancellation(is_requested=True)
        self.record.credit(2)
        self.ledger = Ledger(
            agreements=[
                agreement_row(1, "A", cancellation_requested_at=NOW),
                agreement_row(2, "D", "Rejected", customer_pk=2, payment_token=""),
            ],
            purchases=[
                {
                    "id": number,
                    "reference_number": reference,
                    "customer_type": REGISTRAR,
                    "customer_pk": 1,
                    "status": "Paid",
                    "link_quantity": links,
                    "acknowledged_at": acknowledged,
                }
                for number, reference, links, acknowledged in ((1, "P", 10, None), (2, "Q", 100, NOW))
            ],
            transactions=[],
            responses=[
                response_row(number, each, response)
                for number, (each, response) in enumerate(self.record.responses(), start=1)
            ],
            tasks=[
                task_row(1, "cancellation", agreement_id=1),
                task_row(2, "held for review", response_id=3, purchase_id=2),
            ],
            unanswered=[],
            never={"rows that differ": 0},
        )
        self.told = {
            EDNA: Told(("Cancellation Requested", SMALL, False), [(1, 10)], [(1, 10), (2, 100)]),
            OTTO: Told(None, [], []),
        }
        self.mails = [mail_about(1), mail_about(2)]

    def verdict(self):
        return compare(self.record, self.ledger, self.told, self.mails)


@pytest.fixture
def case() -> Case:
    return Case()


def test_what_agrees_is_good(case):
    assert case.verdict().is_good
    assert promises_kept(case.record, case.ledger).is_good


# --- Lost -------------------------------------------------------------------------------------------


def lose_response(case):
    del case.ledger.responses[0]


def unapply(case):
    case.ledger.responses[0]["applied_at"] = None


def damage(case):
    case.ledger.responses[0]["sealed"] = case.ledger.responses[0]["sealed"][:-1] + b"\0"


def seal_something_else(case):
    case.ledger.responses[0]["sealed"] = case.ledger.responses[1]["sealed"]


def lose_subscription(case):
    del case.ledger.agreements[0]


def leave_pending(case):
    case.ledger.agreements[0]["status"] = "Pending"


def give_other_terms(case):
    case.ledger.agreements[0]["current_link_limit"] = "100"


def schedule_something(case):
    case.ledger.agreements[0] |= {"scheduled_rate": Decimal("1.00"), "scheduled_link_limit": "1"}


def lose_token(case):
    case.ledger.agreements[0]["payment_token"] = ""


def lose_cancellation(case):
    del case.ledger.tasks[0]


def lose_review(case):
    del case.ledger.tasks[1]


def lose_mail(case):
    del case.mails[0]


def refuse_purchase(case):
    case.ledger.purchases[0]["status"] = "Refused"


def give_fewer_links(case):
    case.ledger.purchases[0]["link_quantity"] = 1
    case.told[EDNA] = Told(case.told[EDNA].subscription, [(1, 1)], [(1, 1), (2, 100)])


def lose_purchase(case):
    del case.ledger.purchases[0]
    case.told[EDNA] = Told(case.told[EDNA].subscription, [], [(2, 100)])


def acknowledge_without_credit(case):
    case.ledger.purchases[0]["acknowledged_at"] = NOW
    case.told[EDNA] = Told(case.told[EDNA].subscription, [], case.told[EDNA].history)


def offer_nothing(case):
    case.told[EDNA] = Told(case.told[EDNA].subscription, [], case.told[EDNA].history)


def hide_subscription(case):
    case.told[EDNA] = Told(None, case.told[EDNA].offered, case.told[EDNA].history)


def shorten_history(case):
    case.told[EDNA] = Told(case.told[EDNA].subscription, case.told[EDNA].offered, [(1, 10)])


@pytest.mark.parametrize(
    "break_it",
    [
        lose_response,
        unapply,
        damage,
        seal_something_else,
        lose_subscription,
        leave_pending,
        give_other_terms,
        schedule_something,
        lose_token,
        lose_cancellation,
        lose_review,
        lose_mail,
        refuse_purchase,
        give_fewer_links,
        lose_purchase,
        acknowledge_without_credit,
        offer_nothing,
        hide_subscription,
        shorten_history,
    ],
)
def test_what_is_lost_is_found(case, break_it):
    break_it(case)
    assert case.verdict().lost


# --- Doubled ----------------------------------------------------------------------------------------


def keep_twice(case):
    case.ledger.responses.append(deepcopy(case.ledger.responses[0]))


def open_two_cancellations(case):
    case.ledger.tasks.append(task_row(3, "cancellation", agreement_id=1))
    case.mails.append(mail_about(3))


def end_one_that_was_not_taken_back(case):
    case.ledger.tasks.append(task_row(3, "cancellation", agreement_id=1, done_at=NOW, resolution="withdrawn"))


def credit_twice(case):
    case.record.credit(2)


def offer_again(case):
    case.ledger.purchases[1]["acknowledged_at"] = None


def tell_staff_twice(case):
    case.ledger.tasks.append(task_row(3, "held for review", response_id=3))
    case.mails.append(mail_about(3))


def subscribe_twice(case):
    again = checkout(SUBSCRIBE, "B", sent("ACCEPT", 15, token="t1"), plan=SMALL)
    case.record.checkouts.append(again)
    case.ledger.agreements.append(agreement_row(3, "B"))
    case.ledger.responses.append(response_row(5, again, again.responses[0]))


@pytest.mark.parametrize(
    "break_it",
    [
        keep_twice,
        open_two_cancellations,
        end_one_that_was_not_taken_back,
        credit_twice,
        offer_again,
        tell_staff_twice,
        subscribe_twice,
    ],
)
def test_what_is_doubled_is_found(case, break_it):
    break_it(case)
    assert case.verdict().doubled


# --- Otherwise wrong --------------------------------------------------------------------------------


def give_for_nothing(case):
    case.ledger.agreements[1]["status"] = "Current"


def tell_of_nothing_paid(case):
    case.told[OTTO] = Told(("Current", SMALL, False), [], [])


def keep_what_was_never_sent(case):
    case.ledger.responses.append({**case.ledger.responses[0], "transaction_uuid": "another"})


def differ_from_history(case):
    case.ledger.never["rows that differ"] = 1


def forget_that_it_was_requested(case):
    case.ledger.agreements[0]["cancellation_requested_at"] = None


def cancel_without_being_asked(case):
    case.record.cancellations.clear()


def claim_a_duplicate_charge(case):
    case.ledger.tasks.append(task_row(3, "duplicate charge", agreement_id=1))
    case.mails.append(mail_about(3))


def refuse_a_good_message(case):
    case.record.note_answer("/subscribe/", 400)


def fail(case):
    case.record.note_answer("/acknowledge-purchase/", 500, is_good=False)


@pytest.mark.parametrize(
    "break_it",
    [
        give_for_nothing,
        tell_of_nothing_paid,
        keep_what_was_never_sent,
        differ_from_history,
        forget_that_it_was_requested,
        cancel_without_being_asked,
        claim_a_duplicate_charge,
        refuse_a_good_message,
        fail,
    ],
)
def test_what_is_otherwise_wrong_is_found(case, break_it):
    break_it(case)
    assert case.verdict().wrong


# --- No fault ---------------------------------------------------------------------------------------


def test_a_response_that_was_not_promised_may_be_missing_until_it_is_brought_again(case):
    case.record.checkouts[0].responses[0].promised = False
    lose_response(case)
    assert promises_kept(case.record, case.ledger).is_good


@pytest.mark.parametrize("is_told", [False, True])
def test_an_acknowledgement_whose_answer_was_lost_is_for_staff(case, is_told):
    acknowledge_without_credit(case)
    case.ledger.purchases[1]["acknowledged_at"] = NOW
    if is_told:
        case.ledger.tasks.append(task_row(3, "acknowledgement in doubt", purchase_id=1))
        case.mails.append(mail_about(3))
    else:
        case.ledger.unanswered.append(1)
    assert case.verdict().is_good


@pytest.mark.parametrize("how_many", [1, 2])
def test_a_single_acknowledgement_may_cross_the_moment_at_which_perma_gives_up(case, how_many):
    for row in case.ledger.purchases[:how_many]:
        row["acknowledged_at"] = NOW
        case.record.given_up.add(row["id"])
    if how_many == 2:
        case.record.credited.clear()
    case.told[EDNA] = Told(case.told[EDNA].subscription, [], case.told[EDNA].history)
    assert len(case.verdict().lost) == (0 if how_many == 1 else 2)


def test_after_a_cancellation_without_an_answer_it_may_be_on_record_or_not(case):
    case.record.cancellations[EDNA] = Cancellation(is_requested=None)
    assert case.verdict().is_good
    lose_cancellation(case)
    forget_that_it_was_requested(case)
    case.told[EDNA] = Told(("Current", SMALL, False), case.told[EDNA].offered, case.told[EDNA].history)
    assert case.verdict().is_good


def test_a_cancellation_that_was_taken_back_has_a_mail_that_says_so(case):
    case.record.cancellations[EDNA] = Cancellation(is_requested=False, taken_back=1)
    case.ledger.tasks[0] |= {"done_at": NOW, "resolution": "taken back"}
    forget_that_it_was_requested(case)
    case.told[EDNA] = Told(("Current", SMALL, False), case.told[EDNA].offered, case.told[EDNA].history)
    assert case.verdict().lost == ["task 1 (cancellation) was never mailed"]
    case.mails.append(mail_about(1, "-taken-back"))
    assert case.verdict().is_good


def test_two_responses_without_a_transaction_id_are_two(case):
    for number, reference in enumerate(("X", "Y"), start=11):
        canceled = checkout(PURCHASE, reference, sent("CANCEL", 0))
        canceled.responses[0].transaction_id = ""
        case.record.checkouts.append(canceled)
        case.ledger.responses.append(response_row(number, canceled, canceled.responses[0]))
        case.ledger.purchases.append(
            {**case.ledger.purchases[0], "id": number, "reference_number": reference, "status": "Aborted"}
        )
        case.ledger.tasks.append(task_row(number, "not applied", response_id=number))
        case.mails.append(mail_about(number))
    assert case.verdict().is_good


def test_mail_that_came_again_is_a_figure(case):
    case.mails.append(case.mails[0])
    verdict = case.verdict()
    assert verdict.is_good
    assert (verdict.figures["mails"], verdict.figures["mails that came again"]) == (3, 1)


# --- The model of a subscription --------------------------------------------------------------------


def changed(change: str, plan: Plan, response: SentResponse) -> Checkout:
    return checkout(CHANGE, "A", response, plan=plan, change=change)


SUBSCRIBED = checkout(SUBSCRIBE, "A", sent("DECLINE", 1), sent("ACCEPT", 2, token="t1", second=1), plan=SMALL)
UPGRADED = changed("upgrade", LARGE, sent("ACCEPT", 3, second=2))
DOWNGRADED = changed("downgrade", SMALL, sent("REVIEW", 4, second=3, token="t2"))
TAKEN_BACK = changed("take-back", LARGE, sent("ACCEPT", 5, second=4))
NEW_CARD = checkout(UPDATE, "A", sent("ACCEPT", 6, second=5, token="t3"))
NOT_CHANGED = changed("upgrade", LARGE, sent("DECLINE", 7, second=6))


@pytest.mark.parametrize(
    ("checkouts", "status", "in_force", "scheduled", "token"),
    [
        ([], "Pending", None, None, ""),
        ([checkout(SUBSCRIBE, "A")], "Pending", None, None, ""),
        ([checkout(SUBSCRIBE, "A", sent("ERROR", 1, reason="150"))], "Pending", None, None, ""),
        ([checkout(SUBSCRIBE, "A", sent("DECLINE", 1))], "Rejected", None, None, ""),
        ([checkout(SUBSCRIBE, "A", sent("CANCEL", 1), sent("DECLINE", 2))], "Aborted", None, None, ""),
        ([SUBSCRIBED], "Current", SMALL, None, "t1"),
        ([UPGRADED, SUBSCRIBED], "Current", LARGE, None, "t1"),
        ([SUBSCRIBED, UPGRADED, DOWNGRADED], "Current", LARGE, SMALL, "t2"),
        ([SUBSCRIBED, UPGRADED, DOWNGRADED, TAKEN_BACK], "Current", LARGE, None, "t2"),
        ([SUBSCRIBED, NEW_CARD, UPGRADED], "Current", LARGE, None, "t3"),
        ([SUBSCRIBED, NOT_CHANGED], "Current", SMALL, None, "t1"),
    ],
)
def test_what_cybersource_did_last_is_in_force(checkouts, status, in_force, scheduled, token):
    expected = expected_subscription(checkouts)
    assert (expected.status, expected.in_force, expected.scheduled, expected.token) == (
        status,
        in_force,
        scheduled,
        token,
    )


@pytest.mark.parametrize("is_told", [False, True])
def test_a_card_that_came_too_late_is_ignored_if_staff_were_told(case, is_told):
    case.record.checkouts += [checkout(UPDATE, "A", sent("ACCEPT", 21, second=1, token="t9"))]
    case.record.checkouts += [checkout(UPDATE, "A", sent("ACCEPT", 22, second=2))]
    for number, each in enumerate(case.record.checkouts[-2:], start=11):
        case.ledger.responses.append(response_row(number, each, each.responses[0]))
    if is_told:
        case.ledger.tasks.append(task_row(3, "out of order", response_id=11))
        case.mails.append(mail_about(3))
    assert case.verdict().is_good is is_told
