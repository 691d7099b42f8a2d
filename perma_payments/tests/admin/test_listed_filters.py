"""Lists filter by what they offer, so that nobody can find out a secret by asking for one letter after another."""

from collections.abc import Iterator
from typing import Any

import pytest
from bs4 import BeautifulSoup
from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.auth.models import Group, User
from django.db.models import Model
from django.test import Client
from django.urls import reverse
from django_otp.plugins.otp_totp.admin import TOTPDeviceAdmin
from django_otp.plugins.otp_totp.models import TOTPDevice

from perma_payments.admin.login import groups, second_factors
from perma_payments.admin.site import StaffSite
from perma_payments.billing.transactions import Kind
from perma_payments.models import StaffTask, SubscriptionAgreement

from .. import records
from ..accounts import log_in
from ..pages import heading

pytestmark = pytest.mark.django_db

MODELS = sorted(admin.site._registry, key=lambda model: model._meta.label)
LOOKUPS = ("", "__exact", "__startswith", "__regex", "__gt", "__in", "__isnull", "__isempty", "__year", "__month")

# What may be filtered by: it is all on the list.
LISTED = {
    "perma_payments.checkoutfreeze": set(),
    "perma_payments.outgoingtransaction": {"created_at__year", "kind__exact", "kind__isnull"},
    "perma_payments.purchase": {
        *("created_at__year", "customer_type__exact", "customer_type__isnull", "status__exact", "status__isnull")
    },
    "perma_payments.response": {*("decision", "outcome__exact", "outcome__isnull", "received_at__year")},
    "perma_payments.stafftask": {
        *("done_at__isempty", "kind__exact", "kind__isnull", "resolution__exact", "resolution__isnull")
    },
    "perma_payments.statusreport": {"state__exact", "state__isnull"},
    "perma_payments.subscriptionagreement": {
        *("created_at__year", "customer_type__exact", "customer_type__isnull", "status__exact", "status__isnull")
    },
    "auth.group": set(),
    "auth.user": {
        *("groups__id__exact", "groups__isnull", "is_active__exact", "is_active__isnull"),
        *("is_staff__exact", "is_staff__isnull", "is_superuser__exact", "is_superuser__isnull"),
    },
}


@pytest.fixture
def auditor(client: Client) -> User:
    """Someone who may look at everything, accounts too, logged in."""
    user = log_in(client, "view_user", "view_group")
    user.groups.add(Group.objects.get(name=groups.AUDITORS))
    return user


@pytest.fixture
def secret() -> str:
    """The token of a subscription that has a response and a task."""
    # Part of the token would find a reference number that begins or ends with it.
    agreement = records.standing_agreement(
        payment_token="7408214003316000001234", reference_number="PERMA-0000-0001"
    )
    records.outgoing(Kind.UPDATE, agreement)
    StaffTask.objects.create(kind="cancellation", agreement=agreement)
    records.freeze()
    return agreement.payment_token


def list_of(label: str) -> str:
    app, model = label.split(".")
    return reverse(f"admin:{app}_{model}_changelist")


def columns_of(model: type[Model], depth: int) -> Iterator[str]:
    """The names of all columns, also of those of other tables: ``agreement__payment_token``."""
    for field in model._meta.get_fields():
        yield field.name
        if depth > 1 and field.is_relation and isinstance(field.related_model, type):
            yield from (f"{field.name}__{name}" for name in columns_of(field.related_model, depth - 1))


def is_refused(response: Any) -> bool:
    return response.status_code == 302 and response["Location"].endswith("/?e=1")


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model._meta.label_lower)
def test_a_list_filters_by_what_it_offers_and_by_nothing_else(rf, auditor, model):
    allowed = set()
    for name in columns_of(model, depth=3 if model is StaffTask else 2):
        for lookup in LOOKUPS:
            request = rf.get("/", {f"{name}{lookup}": "1"})
            request.user = auditor
            try:
                admin.site.get_model_admin(model).get_changelist_instance(request)
            except IncorrectLookupParameters:
                continue
            allowed.add(f"{name}{lookup}")

    assert allowed == LISTED[model._meta.label_lower]


@pytest.mark.parametrize(
    ("label", "query"),
    [
        ("perma_payments.subscriptionagreement", "payment_token__startswith=7"),
        ("perma_payments.subscriptionagreement", "payment_token__in=7408214003316000001234"),
        ("perma_payments.subscriptionagreement", "id=1&payment_token__gt=7"),
        ("perma_payments.subscriptionagreement", "status__exact=Current&payment_token__startswith=7"),
        ("perma_payments.subscriptionagreement", "transactions__responses__payment_token__startswith=7"),
        ("perma_payments.outgoingtransaction", "agreement__payment_token__startswith=7"),
        ("perma_payments.response", "payment_token__startswith=7"),
        ("perma_payments.response", "outgoing__agreement__payment_token__startswith=7"),
        ("perma_payments.stafftask", "agreement__payment_token__startswith=7"),
        ("perma_payments.stafftask", "done_by__password__startswith=pbkdf2"),
        ("perma_payments.statusreport", "lines__subscription_id__startswith=7"),
        ("perma_payments.statusreport", "uploaded_by__totpdevice__key__startswith=a"),
        ("auth.user", "password__startswith=pbkdf2"),
        ("auth.user", "totpdevice__key__startswith=a"),
        ("auth.user", "email__startswith=a"),
    ],
)
def test_a_secret_cannot_be_asked_for_letter_by_letter(client, auditor, secret, label, query):
    for page in ["", *(["csv/"] if label.startswith("perma_payments") else [])]:
        assert is_refused(client.get(f"{list_of(label)}{page}?{query}"))
    followed = client.get(f"{list_of(label)}?{query}", follow=True)
    assert followed.status_code == 200
    assert secret not in followed.content.decode()


@pytest.mark.parametrize("label", LISTED)
def test_every_filter_and_order_that_a_list_offers_works(client, auditor, secret, label):
    page = BeautifulSoup(client.get(list_of(label)).content, "html.parser")
    offered = {str(link["href"]) for link in page.select("#changelist a[href^='?']")} - {"?"}
    assert offered
    for query in offered:
        assert client.get(f"{list_of(label)}{query}").status_code == 200, query


@pytest.mark.parametrize("query", ["o=1", "o=99", "o=-99", "o=payment_token", "o=-payment_token"])
def test_a_list_is_never_sorted_by_what_it_does_not_show(rf, auditor, query):
    request = rf.get(f"/?{query}")
    request.user = auditor
    agreements = admin.site.get_model_admin(SubscriptionAgreement)
    ordering = agreements.get_changelist_instance(request).queryset.query.order_by
    assert ordering
    assert not [column for column in ordering if "token" in column]


def test_a_search_finds_nothing_by_a_token(client, auditor, secret):
    for label in LISTED:
        for text in (secret, secret[:4], secret[-4:]):
            page = client.get(list_of(label), {"q": text})
            assert page.status_code == 200
            if label.startswith("perma_payments") and page.context["cl"].search_fields:
                assert not page.context["cl"].result_count, (label, text)


@pytest.mark.parametrize("column", ["payment_token", "reference_number", "nothing"])
def test_rows_are_found_by_no_other_column_than_their_id(client, auditor, secret, column):
    agreement = StaffTask.objects.get().agreement
    value = getattr(agreement, column, "x")
    for url in (
        f"{list_of('perma_payments.subscriptionagreement')}?_popup=1&_to_field={column}",
        f"{list_of('perma_payments.subscriptionagreement')}{value}/change/?_to_field={column}",
        f"{list_of('perma_payments.subscriptionagreement')}{value}/delete/?_to_field={column}",
    ):
        response = client.get(url)
        assert (response.status_code, heading(response)) == (404, "Page not found"), url


def test_there_is_no_completion_of_what_is_typed(client, auditor, secret):
    query = {"app_label": "perma_payments", "model_name": "outgoingtransaction", "field_name": "agreement"}
    found = client.get(reverse("admin:autocomplete"), {**query, "term": secret})
    assert secret not in found.content.decode()
    assert found.status_code in (403, 404) or found.json()["results"] == []


def test_tables_of_other_apps_get_such_lists_by_themselves(rf, auditor):
    second_factors.add(auditor)
    site = StaffSite()
    site.register(TOTPDevice, TOTPDeviceAdmin)
    request = rf.get("/?key__startswith=a")
    request.user = User.objects.create_superuser("root")
    with pytest.raises(IncorrectLookupParameters):
        site.get_model_admin(TOTPDevice).get_changelist_instance(request)
