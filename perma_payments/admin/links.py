"""Addresses of what staff look at: a customer's page here, and where customers and payments are kept elsewhere."""

from django.conf import settings
from django.urls import reverse

from ..billing.customers import Customer, CustomerType

BUSINESS_CENTERS = {
    "live": "https://businesscenter.cybersource.com",
    "test": "https://businesscentertest.cybersource.com",
}


def customer_url(customer: Customer) -> str:
    """The customer's page in our admin."""
    return reverse("admin:customer", args=[customer.type, customer.pk])


def perma_admin_url(customer: Customer) -> str:
    """The customer's page in Perma.cc's own admin."""
    return _perma_admin(customer.type).replace("{pk}", str(customer.pk))


def perma_admin_list_url(customer_type: CustomerType) -> str:
    """Where Perma.cc's own admin lists its customers, with their names."""
    return _perma_admin(customer_type).split("{pk}")[0]


def business_center_url() -> str:
    """CyberSource's Business Center; in development, the sandbox's."""
    return BUSINESS_CENTERS.get(settings.CS_MODE, settings.CS_BASE_URL)


def _perma_admin(customer_type: CustomerType) -> str:
    url: str = {
        CustomerType.REGISTRAR: settings.PERMA_REGISTRAR_ADMIN_URL,
        CustomerType.INDIVIDUAL: settings.PERMA_INDIVIDUAL_ADMIN_URL,
    }[customer_type]
    return url
