"""Which uploaded files are kept, in memory, until a view has read them."""

import pytest
from django.contrib.auth.models import AnonymousUser, Permission, User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import OperationalError
from django.test import RequestFactory
from django.urls import resolve
from django.utils.functional import SimpleLazyObject

UPLOAD = "/admin/perma_payments/statusreport/upload/"
EVERYTHING = ("view_statusreport", "upload_statusreport")
pytestmark = pytest.mark.django_db


def staff(*permissions, **changes):
    user = User.objects.create_user("someone", **{"is_staff": True, **changes})
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    return user


def file_of(user, path=UPLOAD, content=b"a,b"):
    """What a view gets of a file that a user uploads: its length, and its content."""
    request = RequestFactory().post(path, {"report": SimpleUploadedFile("report.csv", content)})
    request.user, request.resolver_match = user, resolve(path)
    file = request.FILES["report"]
    assert file.name == "report.csv"
    assert not hasattr(file, "temporary_file_path")
    return file.size, file.read()


def test_a_report_from_who_may_upload_it_is_kept():
    assert file_of(staff(*EVERYTHING)) == (3, b"a,b")


@pytest.mark.parametrize(
    "permissions, changes",
    [(["view_statusreport"], {}), ([], {}), (EVERYTHING, {"is_staff": False}), (EVERYTHING, {"is_active": False})],
    ids=str,
)
def test_nobody_elses_file_is(permissions, changes):
    assert file_of(staff(*permissions, **changes)) == (3, b"")


def test_no_strangers_file_is():
    assert file_of(AnonymousUser()) == (3, b"")


def test_without_the_second_factor_none_is(settings):
    settings.REQUIRE_SECOND_FACTOR = True
    user = staff(*EVERYTHING)
    user.is_verified = lambda: False
    assert file_of(user) == (3, b"")
    user.is_verified = lambda: True
    assert file_of(user) == (3, b"a,b")


@pytest.mark.parametrize("path", ["/admin/", "/admin/login/", "/portal/keep/"])
def test_no_file_is_kept_where_none_belongs(path):
    assert file_of(staff(*EVERYTHING), path) == (3, b"")


def test_of_a_file_that_is_too_long_only_the_length_is():
    user, limit = staff(*EVERYTHING), 20 * 1024 * 1024
    assert file_of(user, content=b"x" * limit) == (limit, b"x" * limit)
    assert file_of(user, content=b"x" * (limit + 1)) == (limit + 1, b"")


def test_without_a_database_none_is():
    def away():
        raise OperationalError

    assert file_of(SimpleLazyObject(away)) == (3, b"")
