"""The staff's side. The ledger is for looking at: tasks are ended here, nothing else changes by hand."""
from django.contrib import admin

from ..models import OutgoingTransaction, Purchase, Response, StaffTask, SubscriptionAgreement
from .ledger import (
    OutgoingTransactionAdmin,
    PurchaseAdmin,
    ResponseAdmin,
    SubscriptionAgreementAdmin,
)
from .staff_tasks import StaffTaskAdmin

admin.site.site_header = "Perma Payments"
admin.site.site_title = "Perma Payments"
admin.site.index_title = "The ledger"
admin.site.site_url = None

admin.site.register(SubscriptionAgreement, SubscriptionAgreementAdmin)
admin.site.register(Purchase, PurchaseAdmin)
admin.site.register(OutgoingTransaction, OutgoingTransactionAdmin)
admin.site.register(Response, ResponseAdmin)
admin.site.register(StaffTask, StaffTaskAdmin)
