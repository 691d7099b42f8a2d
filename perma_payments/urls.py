"""The routes. None redirects what is still to be read: that would turn a POST into a GET and lose it."""

from django.conf import settings
from django.contrib import admin
from django.urls import URLPattern, URLResolver, path

from .views.callback import cybersource_callback
from .views.cancel_request import cancel_request
from .views.change import change
from .views.customer_return import customer_return
from .views.pages import index
from .views.purchase import acknowledge_purchase, purchase, purchase_history
from .views.subscribe import subscribe
from .views.subscription import subscription
from .views.update import update

urlpatterns: list[URLPattern | URLResolver] = [
    path("", index, name="index"),
    path("subscribe/", subscribe, name="subscribe"),
    path("change/", change, name="change"),
    path("update/", update, name="update"),
    path("cancel-request/", cancel_request, name="cancel_request"),
    path("purchase/", purchase, name="purchase"),
    path("subscription/", subscription, name="subscription"),
    path("purchase-history/", purchase_history, name="purchase_history"),
    path("acknowledge-purchase/", acknowledge_purchase, name="acknowledge_purchase"),
    path("cybersource-callback/", cybersource_callback, name="cybersource_callback"),
    path("return/", customer_return, name="customer_return"),
]
if settings.ADMIN_ENABLED:
    urlpatterns.append(path(settings.ADMIN_URL, admin.site.urls))

handler400 = "perma_payments.views.pages.refused"
handler403 = "perma_payments.views.pages.forbidden"
handler404 = "perma_payments.views.pages.not_found"
handler500 = "perma_payments.views.pages.server_error"
