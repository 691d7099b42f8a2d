"""Every address of the site, taken from the URL configuration, so that a new page is attacked, too."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.apps import apps
from django.contrib.admindocs.views import simplify_regex
from django.contrib.contenttypes.models import ContentType
from django.urls import URLResolver, get_resolver

from perma_payments.models import StaffTask

# More than any row has, for addresses of rows that do not exist.
UNKNOWN = 10**6


@dataclass(frozen=True)
class Address:
    """An address, and the name of its route."""

    name: str
    path: str

    def __str__(self) -> str:
        return self.name


def addresses(*, of_rows: bool = True) -> list[Address]:
    """All of them, each with an id of a row that exists, or of none if not ``of_rows``."""
    return list(_below(get_resolver(), "", "", of_rows))


def of_the_admin(**options: bool) -> list[Address]:
    """Those of the admin."""
    return [address for address in addresses(**options) if address.path.startswith("/admin/")]


def _below(resolver: URLResolver, prefix: str, namespace: str, of_rows: bool) -> Iterator[Address]:
    for pattern in resolver.url_patterns:
        route = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            inner = f"{pattern.namespace}:" if pattern.namespace else namespace
            yield from _below(pattern, route, inner, of_rows)
        else:
            path = simplify_regex(route)
            for argument, sample in _samples(pattern.name or "", of_rows).items():
                path = re.sub(rf"<(\w+:)?{argument}>", str(sample), path)
            assert "<" not in path, f"no sample for {path}"
            yield Address(namespace + (pattern.name or pattern.lookup_str), path)


def _samples(name: str, of_rows: bool) -> dict[str, Any]:
    """A value for each argument that any of our addresses has."""
    pk: Any = UNKNOWN
    for model in apps.get_models() if of_rows else []:
        if name.startswith(f"{model._meta.app_label}_{model._meta.model_name}_"):
            row = model._default_manager.order_by("pk").last()
            assert row is not None, f"there is no {model.__name__} to attack"
            pk = row.pk
    task = ContentType.objects.get_for_model(StaffTask)
    return {
        "pk": 7 if name == "customer" else pk,
        "object_id": pk,
        "id": pk,
        "customer_type": "Registrar",
        "content_type_id": task.pk,
        "uidb64": "MQ",
        "token": "set-password",
        "app_label": "perma_payments",
        "url": "no-such-page/",
    }
