"""A new password by email, for staff who have forgotten theirs. It does not replace the second factor.

Asking for a link only records that. So the answer, and the time that it takes, are the same whether or not there
is an account. The scheduler mails the link, as it mails everything.
"""

import logging
from datetime import datetime
from typing import Any

from django.conf import settings
from django.contrib.admin import AdminSite
from django.contrib.auth import views
from django.contrib.auth.forms import PasswordResetForm
from django.contrib.auth.models import AbstractBaseUser
from django.contrib.auth.tokens import default_token_generator
from django.core.exceptions import ValidationError
from django.http import HttpResponse
from django.template.loader import render_to_string
from django.urls import URLPattern, path, reverse, reverse_lazy
from django.utils import timezone
from django.utils.encoding import force_bytes
from django.utils.http import urlsafe_base64_encode

from ...emails import Mail, MailServer, NotDelivered, Recipient, ServerFailed, Unanswered
from ...models import PASSWORD_RESET_REQUEST_COUNTS_FOR, PasswordResetRequest
from ...postgres.write import insert_unless_there
from .form import begin_attempt

logger = logging.getLogger(__name__)


class RequestForm(PasswordResetForm):
    def save(self, *args: Any, **options: Any) -> None:
        """Record that the accounts with this address, if any, are to get a link."""
        for user in self.get_users(self.cleaned_data["email"]):
            if user.is_staff:
                insert_unless_there(PasswordResetRequest(user=user, requested_at=timezone.now()))


class RequestView(views.PasswordResetView):
    form_class = RequestForm
    success_url = reverse_lazy("admin:password_reset_done")

    def form_valid(self, form: Any) -> HttpResponse:
        try:
            # It counts as a failed login, because there is no telling whether it succeeds.
            begin_attempt(self.request, f"password reset: {form.cleaned_data['email']}")
        except ValidationError as error:
            form.add_error("email", error)
            response = self.form_invalid(form)
            response.status_code = 429
            response["Retry-After"] = "900"
            return response
        return super().form_valid(form)


def urls(site: AdminSite) -> list[URLPattern]:
    """The four pages, in the look of the admin."""
    look = {"site_header": site.site_header, "site_title": site.site_title}
    confirm = views.PasswordResetConfirmView.as_view(
        success_url=reverse_lazy("admin:password_reset_complete"), extra_context=look
    )
    return [
        path("password_reset/", RequestView.as_view(extra_context=look), name="password_reset"),
        path(
            "password_reset/done/",
            views.PasswordResetDoneView.as_view(extra_context=look),
            name="password_reset_done",
        ),
        path("password_reset/<uidb64>/<token>/", confirm, name="password_reset_confirm"),
        path(
            "password_reset/complete/",
            views.PasswordResetCompleteView.as_view(extra_context=look),
            name="password_reset_complete",
        ),
    ]


def send_links(*, now: datetime) -> bool:
    """Mail the links that were asked for; return False if the mail server failed."""
    waiting = PasswordResetRequest.objects.filter(requested_at__gt=now - PASSWORD_RESET_REQUEST_COUNTS_FOR)
    if not settings.ADMIN_ENABLED:
        return True
    with MailServer() as server:
        for request in waiting.select_related("user").order_by("requested_at"):
            user = request.user
            # Deleted first, so that no two schedulers send it.
            if not PasswordResetRequest.objects.filter(pk=request.pk).delete()[0]:
                continue
            message_id = f"password-{user.pk}-{request.requested_at.timestamp():.6f}"
            to = [Recipient("user", user.pk, user.email)]
            try:
                server.send(_mail(user), to=to, message_id=message_id)
            except NotDelivered as failure:
                logger.error("user %s could not be mailed a link for a new password: %s", user.pk, failure)
                if not isinstance(failure, ServerFailed):
                    continue
                if not isinstance(failure, Unanswered):
                    insert_unless_there(PasswordResetRequest(user=user, requested_at=request.requested_at))
                return False
            logger.info("user %s was mailed a link for a new password", user.pk)
    return True


def _mail(user: AbstractBaseUser) -> Mail:
    arguments = [urlsafe_base64_encode(force_bytes(user.pk)), default_token_generator.make_token(user)]
    link = settings.PAYMENTS_URL + reverse("admin:password_reset_confirm", args=arguments)
    context = {"link": link, "hours": settings.PASSWORD_RESET_TIMEOUT // 3600}
    return Mail("Set a new password", render_to_string("perma_payments/mail/password_reset.txt", context))
