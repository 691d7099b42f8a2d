"""Staff accounts: Django's pages, with one for the second factor in place of django-otp's own."""

from functools import partial

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin  # importing an admin module registers its classes
from django.contrib.auth.models import User
from django.urls import URLPattern, path
from django_otp.plugins.otp_static.admin import StaticDevice
from django_otp.plugins.otp_totp.admin import TOTPDevice

from .login.enrollment import invite

admin.site.unregister([User, StaticDevice, TOTPDevice])


@admin.register(User)
class StaffUserAdmin(UserAdmin):  # type: ignore[type-arg] # no generic class when it runs
    change_form_template = "perma_payments/admin/user.html"

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(partial(invite, self.admin_site))
        return [path("<int:pk>/second-factor/", view, name="auth_user_invite"), *super().get_urls()]
