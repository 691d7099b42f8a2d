"""The admin's site: Django's, with the login of admin/login.py.

Not in the package ``admin``, which registers our tables with it and so needs it first.
"""

from functools import update_wrapper
from typing import Any

from django.conf import settings
from django.contrib.admin import AdminSite
from django.core.exceptions import NON_FIELD_ERRORS, PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse

from .views.middleware import time_limit


class StaffSite(AdminSite):
    """It is ``admin.site`` (apps.StaffAdminConfig), so tables are registered as in any Django project."""

    login_template = "perma_payments/admin/login.html"

    def has_permission(self, request: HttpRequest) -> bool:
        """Staff only and, where it is required, only with a second factor."""
        return super().has_permission(request) and (
            not settings.REQUIRE_SECOND_FACTOR or request.user.is_verified()  # type: ignore[union-attr]
        )

    def admin_view(self, view: Any, cacheable: bool = False) -> Any:
        """Refuse who is logged in and not staff, instead of asking them to log in again."""
        guarded = super().admin_view(view, cacheable)

        def for_staff(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            user = request.user
            if user.is_authenticated and not user.is_staff and request.path != reverse("admin:logout"):
                raise PermissionDenied
            response: HttpResponse = guarded(request, *args, **kwargs)
            return response

        # Of fifty thousand subscriptions, a step of a status report takes some seconds.
        return time_limit(45)(update_wrapper(for_staff, guarded))

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """The login page; 429 for who has tried too often."""
        from .admin.login.form import LoginForm

        self.login_form = LoginForm
        context = {**(extra_context or {}), "developer_emails": settings.DEVELOPER_EMAILS}
        response = super().login(request, context)
        if isinstance(response, TemplateResponse) and response.context_data is not None:
            form = response.context_data["form"]
            if form.is_bound and form.has_error(NON_FIELD_ERRORS, "too_many_attempts"):
                response.status_code = 429
                response["Retry-After"] = "900"
        return response
