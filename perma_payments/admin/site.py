"""The admin site: Django's, with our login, and an overview on its front page.

It is ``admin.site`` (apps.StaffAdminConfig), so models are registered as in any Django project.
"""

from functools import partial, update_wrapper
from typing import Any

from django.conf import settings
from django.contrib.admin import AdminSite
from django.core.exceptions import NON_FIELD_ERRORS, PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, URLResolver, path, reverse
from django.views.decorators.http import require_safe

from ..postgres.time_limits import time_limit
from .customers import customer_page, may_search
from .dashboard import overview
from .login.form import LoginForm
from .search_page import search_page

# Seconds for one of our own pages: with fifty thousand subscriptions, a step of a status report takes several.
# Django's pages are wrapped once more, without this mark, so they have the limit of any request.
TIME_LIMIT = 45


class StaffSite(AdminSite):
    site_header = site_title = "Perma Payments"
    index_title = "Overview"
    site_url = None
    index_template = "perma_payments/admin/index.html"
    login_template = "perma_payments/admin/login.html"
    login_form = LoginForm

    def has_permission(self, request: HttpRequest) -> bool:
        """Whether the user is staff and, where one is required, has used a second factor."""
        return super().has_permission(request) and (
            not settings.REQUIRE_SECOND_FACTOR or request.user.is_verified()  # type: ignore[union-attr]
        )

    def admin_view(self, view: Any, cacheable: bool = False) -> Any:
        """Django's, but users who are not staff get a 403, not a request to log in again."""
        guarded = super().admin_view(view, cacheable)

        def for_staff(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            user = request.user
            if user.is_authenticated and not user.is_staff and request.path != reverse("admin:logout"):
                raise PermissionDenied
            response: HttpResponse = guarded(request, *args, **kwargs)
            return response

        return time_limit(TIME_LIMIT)(update_wrapper(for_staff, guarded))

    def get_urls(self) -> list[URLPattern | URLResolver]:
        def of_site(page: Any) -> Any:
            return self.admin_view(require_safe(partial(page, self)))

        return [
            path("search/", of_site(search_page), name="search"),
            path("customer/<customer_type>/<pk>/", of_site(customer_page), name="customer"),
            *super().get_urls(),
        ]

    def each_context(self, request: HttpRequest) -> dict[str, Any]:
        """For every page, which has a search box for those who may use it."""
        return {**super().each_context(request), "may_search": may_search(request.user)}

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        return super().index(request, {**overview(request.user), **(extra_context or {})})

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """The login page; 429 after too many attempts."""
        context = {**(extra_context or {}), "developer_emails": settings.DEVELOPER_EMAILS}
        response = super().login(request, context)
        if isinstance(response, TemplateResponse) and response.context_data is not None:
            form = response.context_data["form"]
            if form.is_bound and form.has_error(NON_FIELD_ERRORS, "too_many_attempts"):
                response.status_code = 429
                response["Retry-After"] = "900"
        return response
