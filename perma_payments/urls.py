"""The routes. None redirects before it has read a request: that would turn a POST into a GET, and lose it."""

from django.conf import settings
from django.contrib import admin
from django.urls import URLPattern, URLResolver, path

from .views import portal
from .views.checkouts import billing, cancel_request, change, purchase, subscribe, update
from .views.cybersource import customer_return, cybersource_callback
from .views.pages import index
from .views.queries import acknowledge_purchase, purchase_history, subscription

urlpatterns: list[URLPattern | URLResolver] = [
    # Asked for most by far, and Django tries one after the other.
    path("subscription/", subscription, name="subscription"),
    path("", index, name="index"),
    path("subscribe/", subscribe, name="subscribe"),
    path("change/", change, name="change"),
    path("update/", update, name="update"),
    path("billing/", billing, name="billing"),
    path("portal/", portal.portal, name="portal"),
    path("portal/cancel/", portal.cancel_page, name="portal_cancel_page"),
    path("portal/cancel/confirm/", portal.cancel, name="portal_cancel"),
    path("portal/keep/", portal.keep, name="portal_keep"),
    path("portal/update-card/", portal.update_card, name="portal_update_card"),
    path("portal/receipt/", portal.receipt, name="portal_receipt"),
    path("cancel-request/", cancel_request, name="cancel_request"),
    path("purchase/", purchase, name="purchase"),
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
