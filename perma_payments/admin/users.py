"""Staff accounts: Django's pages, with one for the second factor in place of django-otp's own."""

from functools import partial
from typing import Any

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin, UserAdmin  # importing an admin module registers its classes
from django.contrib.auth.models import Group, User
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path
from django_otp.plugins.otp_static.admin import StaticDevice
from django_otp.plugins.otp_totp.admin import TOTPDevice

from .login.enrollment import invite

admin.site.unregister([User, Group, StaticDevice, TOTPDevice])


class ChangedBySuperusers(admin.ModelAdmin):  # type: ignore[type-arg] # no generic class when it runs
    """Only superusers change who may do what: with Django's permissions to do so, anyone could become one."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return request.user.is_superuser

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.is_superuser

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.is_superuser

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Django's, which says whether there is such a row to those who may not see it."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        return super().history_view(request, object_id, extra_context)


@admin.register(Group)
class StaffGroupAdmin(ChangedBySuperusers, GroupAdmin):
    pass


@admin.register(User)
class StaffUserAdmin(ChangedBySuperusers, UserAdmin):  # type: ignore[type-arg] # no generic class when it runs
    change_form_template = "perma_payments/admin/user.html"

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(partial(invite, self.admin_site))
        return [path("<int:pk>/second-factor/", view, name="auth_user_invite"), *super().get_urls()]
