"""The routes. None of them redirects: a redirect would turn a POST into a GET and lose it."""
from django.conf import settings
from django.contrib import admin
from django.urls import URLPattern, URLResolver, path

from .views.callback import cybersource_callback
from .views.subscribe import subscribe
from .views.subscription import subscription

urlpatterns: list[URLPattern | URLResolver] = [
    path("subscribe/", subscribe, name="subscribe"),
    path("subscription/", subscription, name="subscription"),
    path("cybersource-callback/", cybersource_callback, name="cybersource_callback"),
]
if settings.ADMIN_ENABLED:
    urlpatterns.append(path(settings.ADMIN_URL, admin.site.urls))

handler400 = "perma_payments.views.pages.refused"
handler403 = "perma_payments.views.pages.forbidden"
handler404 = "perma_payments.views.pages.not_found"
handler500 = "perma_payments.views.pages.server_error"
