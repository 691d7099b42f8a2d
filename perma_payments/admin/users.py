"""Staff accounts: Django's pages, with one for the second factor."""

from functools import partial

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin  # importing it registers Django's own
from django.contrib.auth.models import User
from django.urls import URLPattern, path

from .login.enrollment import invite

admin.site.unregister(User)


@admin.register(User)
class StaffUserAdmin(UserAdmin):  # type: ignore[type-arg] # no generic class when it runs
    change_form_template = "perma_payments/admin/user.html"

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(partial(invite, self.admin_site))
        return [path("<int:pk>/second-factor/", view, name="auth_user_invite"), *super().get_urls()]
