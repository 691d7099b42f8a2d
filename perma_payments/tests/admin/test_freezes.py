"""Staff freeze checkouts and resume them."""

from datetime import UTC, datetime

import pytest
from bs4 import BeautifulSoup
from django.contrib.auth.models import Group, User

from perma_payments.admin.login import groups
from perma_payments.models import CheckoutFreeze
from perma_payments.services.freeze import freeze_checkouts, resume_checkouts

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
LIST = "/admin/perma_payments/checkoutfreeze/"
SWITCH = f"{LIST}switch/"


@pytest.fixture
def staff(client) -> User:
    user = User.objects.create_user("anne", is_staff=True)
    user.groups.add(Group.objects.get(name=groups.BILLING_STAFF))
    client.force_login(user)
    return user


def text(response) -> str:
    return " ".join(BeautifulSoup(response.content, "html.parser").get_text(" ").split())


def switch(client, action: str, reason: str = "A move."):
    return client.post(SWITCH, {"action": action, "reason": reason}, follow=True)


def test_staff_freeze_and_resume_with_a_reason(client, staff):
    assert "Freeze checkouts" in text(client.get(LIST))
    assert "Checkouts are frozen." in text(switch(client, "freeze"))
    assert "Resume checkouts" in text(client.get(LIST))
    assert "Checkouts are resumed." in text(switch(client, "resume", "We have moved."))

    freeze = CheckoutFreeze.objects.get()
    assert (freeze.began_by, freeze.reason) == (staff, "A move.")
    assert (freeze.ended_by, freeze.reason_to_end) == (staff, "We have moved.")


@pytest.mark.parametrize("reason", ["", "   ", "x" * 1001])
def test_without_a_reason_nothing_is_frozen(client, staff, reason):
    response = switch(client, "freeze", reason)

    assert response.context["form"].errors.keys() == {"reason"}
    assert not CheckoutFreeze.objects.exists()


def test_a_page_that_is_out_of_date_changes_nothing(client, staff):
    freeze_checkouts(by=staff, reason="First.", now=NOW)
    assert "Nothing was changed: checkouts had already been frozen." in text(switch(client, "freeze"))
    resume_checkouts(by=staff, reason="Done.", now=NOW)
    assert "Nothing was changed: checkouts had already been resumed." in text(switch(client, "resume"))

    assert CheckoutFreeze.objects.get().reason == "First."


def test_the_front_page_says_since_when_by_whom_and_why(client, staff):
    assert "Checkouts are frozen" not in text(client.get("/admin/"))
    freeze_checkouts(by=staff, reason="A move.", now=NOW)

    assert "Since 2026-11-28 12:00 UTC, by anne: A move." in text(client.get("/admin/"))


def test_the_setting_is_told_apart(client, staff, settings):
    settings.CHECKOUTS_FROZEN = True

    assert "The setting CHECKOUTS_FROZEN says so; only the developers can change it." in text(
        client.get("/admin/")
    )
    assert "Checkouts are frozen by the setting CHECKOUTS_FROZEN as well." in text(client.get(SWITCH))


def test_auditors_see_the_freezes_and_not_the_switch(client):
    user = User.objects.create_user("ben", is_staff=True)
    user.groups.add(Group.objects.get(name=groups.AUDITORS))
    client.force_login(user)

    assert "Freeze checkouts" not in text(client.get(LIST))
    assert client.get(SWITCH).status_code == 403
    assert client.post(SWITCH, {"action": "freeze", "reason": "x"}).status_code == 403
    assert not CheckoutFreeze.objects.exists()
