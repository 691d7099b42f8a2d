"""The admin site: Django's, with our login, and an overview on its front page.

It is ``admin.site`` (apps.StaffAdminConfig), so models are registered as in any Django project.
"""

import logging
from functools import partial, update_wrapper
from typing import Any

from django.conf import settings
from django.contrib.admin import AdminSite, ModelAdmin
from django.contrib.admin.exceptions import DisallowedModelAdminToField
from django.core.exceptions import NON_FIELD_ERRORS, PermissionDenied
from django.db.models import Model
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import NoReverseMatch, Resolver404, URLPattern, URLResolver, path, resolve, reverse
from django.utils.cache import add_never_cache_headers
from django.views.decorators.http import require_safe

from .. import unsent
from ..postgres.time_limits import time_limit
from ..request_log import route_of
from .customers import customer_page, may_search
from .dashboard import overview
from .help import staff_help
from .listed_filters import ListedFilters
from .login import password_reset
from .login.enrollment import enroll
from .login.form import LoginForm
from .search_page import search_page

logger = logging.getLogger(__name__)

# Seconds for one of our own pages: with 100,000 subscriptions, a step of a status report takes eight.
# Django's pages are wrapped once more, without this mark, so they have the limit of any request.
TIME_LIMIT = 45

REFUSALS = {"forbidden": "You don't have access to this page", "not_found": "Page not found"}


class StaffSite(AdminSite):
    site_header = site_title = "Perma Payments"
    index_title = "Overview"
    site_url = None
    index_template = "perma_payments/admin/index.html"
    login_template = "perma_payments/admin/login.html"
    login_form = LoginForm

    def register(self, model_or_iterable: Any, admin_class: Any = None, **options: Any) -> None:
        """Django's, for lists that filter by nothing but what they offer."""
        admin_class = admin_class or ModelAdmin
        super().register(
            model_or_iterable, type(admin_class.__name__, (ListedFilters, admin_class), {}), **options
        )

    def has_permission(self, request: HttpRequest) -> bool:
        """Whether the user is staff and, where one is required, has used a second factor."""
        return super().has_permission(request) and (
            not settings.REQUIRE_SECOND_FACTOR or request.user.is_verified()  # type: ignore[union-attr]
        )

    def admin_view(self, view: Any, cacheable: bool = False) -> Any:
        """Django's, with pages of ours for what it refuses, and a login page that keeps what was typed.

        Users who are not staff get a 403, not a request to log in again.
        """
        guarded = super().admin_view(view, cacheable)

        def for_staff(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            user = request.user
            is_logout = request.path == reverse("admin:logout")
            if user.is_authenticated and not user.is_staff and not is_logout:
                return self.refused(request, "forbidden", 403)
            if request.method == "POST" and not self.has_permission(request) and not is_logout:
                return self.login_again(request)
            try:
                response: HttpResponse = guarded(request, *args, **kwargs)
            except PermissionDenied:
                return self.refused(request, "forbidden", 403)
            # A column to find rows by (?_to_field=) could be a secret.
            except (Http404, DisallowedModelAdminToField):
                return self.refused(request, "not_found", 404)
            if response.status_code != 405:
                return response
            if request.method in ("GET", "HEAD"):
                return HttpResponseRedirect(_page_with_the_form_for(request))
            allowed = response["Allow"]
            response = self.refused(request, "not_found", 405)
            response["Allow"] = allowed
            return response

        return time_limit(TIME_LIMIT)(update_wrapper(for_staff, guarded))

    def get_urls(self) -> list[URLPattern | URLResolver]:
        def of_site(page: Any) -> Any:
            return self.admin_view(require_safe(partial(page, self)))

        return [
            path("second-factor/", partial(enroll, self), name="enroll"),
            *password_reset.urls(self),
            path("help/", self.admin_view(self.help), name="help"),
            path("search/", of_site(search_page), name="search"),
            path("customer/<customer_type>/<pk>/", of_site(customer_page), name="customer"),
            *super().get_urls(),
        ]

    def help(self, request: HttpRequest) -> TemplateResponse:
        context = {**self.each_context(request), **staff_help()._asdict()}
        return TemplateResponse(request, "perma_payments/admin/help.html", context)

    def each_context(self, request: HttpRequest) -> dict[str, Any]:
        """The context of every page. Ours also says whether to show the search box."""
        return {**super().each_context(request), "may_search": may_search(request.user)}

    def refused(self, request: HttpRequest, why: str, status: int) -> HttpResponse:
        """A page that says why there is nothing to see, and leads back."""
        if status == 403:
            logger.warning("%s: user %s has no access", route_of(request), request.user.pk)
        context = {**self.each_context(request), "title": REFUSALS[why], "why": why}
        response = TemplateResponse(request, "perma_payments/admin/refused.html", context, status=status)
        add_never_cache_headers(response)
        return response

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        return super().index(request, {**overview(request.user), **(extra_context or {})})

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """The login page; 429 after too many attempts. A form that was kept over the login is offered again."""
        # Read before the login, which changes the cookie that it is bound to.
        kept = unsent.read(request.POST.get("unsent", ""), request)
        context = {
            **(extra_context or {}),
            "developer_emails": settings.DEVELOPER_EMAILS,
            "unsent": kept and unsent.sign(kept, request),
        }
        response = super().login(request, context)
        if isinstance(response, TemplateResponse) and response.context_data is not None:
            form = response.context_data["form"]
            if form.is_bound and form.has_error(NON_FIELD_ERRORS, "too_many_attempts"):
                response.status_code = 429
                response["Retry-After"] = "900"
        elif kept:
            response = self.send_again(request, kept)
        return response

    def login_again(self, request: HttpRequest) -> HttpResponse:
        """The login page for someone whose login had ended when a form was posted; it keeps the form if it can."""
        kept = unsent.unsent_of(request)
        signed = kept and unsent.sign(kept, request)
        context = {
            **self.each_context(request),
            "title": "Log in",
            "app_path": reverse("admin:login"),
            "username": request.user.get_username(),
            "next": request.get_full_path(),
            "form": LoginForm(request),
            "developer_emails": settings.DEVELOPER_EMAILS,
            "unsent": signed,
            "has_ended": True,
            "has_file": bool(request.FILES),
        }
        response = TemplateResponse(request, self.login_template, context)
        add_never_cache_headers(response)
        return response

    def send_again(self, request: HttpRequest, kept: unsent.Unsent) -> HttpResponse:
        """What was about to be done when the login ended, with one button to do it."""
        context = {
            **self.each_context(request),
            "title": "Send it now?",
            "unsent": kept,
            "row": self._row_of(request, kept.path),
        }
        response = TemplateResponse(request, "perma_payments/admin/send_again.html", context)
        add_never_cache_headers(response)
        return response

    def _row_of(self, request: HttpRequest, path: str) -> Model | None:
        """The row that an address is about, if there is one that the user may view."""
        try:
            match = resolve(path)
        except Resolver404:  # below a prefix that a proxy adds
            return None
        table = (match.url_name or "").rpartition("_")[0]
        for model, model_admin in self._registry.items():
            if table == f"{model._meta.app_label}_{model._meta.model_name}" and match.kwargs:
                row: Model | None = model_admin.get_object(request, str(next(iter(match.kwargs.values()))))
                if row and model_admin.has_view_permission(request, row):
                    return row
        return None


def _page_with_the_form_for(request: HttpRequest) -> str:
    """The page whose form posts to the address of a request; the front page if it is not known."""
    match = request.resolver_match
    assert match  # a view has been called
    table = (match.url_name or "").rpartition("_")[0]
    args = list(match.kwargs.values())
    try:
        return reverse(f"admin:{table}_change", args=args) if args else reverse(f"admin:{table}_changelist")
    except NoReverseMatch:
        return reverse("admin:index")
