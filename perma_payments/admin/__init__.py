"""The staff's side. The ledger is for looking at: what staff may change has a page of its own."""

from django.contrib import admin

from ..models import OutgoingTransaction, Purchase, Response, StaffTask, StatusReport, SubscriptionAgreement
from . import dashboard as overview
from .corrections import CorrectableAgreement, CorrectablePurchase, CorrectableResponse
from .read_only import OutgoingTransactionAdmin
from .staff_tasks import StaffTaskAdmin
from .status_reports import StatusReportAdmin

admin.site.site_header = "Perma Payments"
admin.site.site_title = "Perma Payments"
admin.site.index_title = "The ledger"
admin.site.site_url = None
overview.add_to(admin.site)

admin.site.register(SubscriptionAgreement, CorrectableAgreement)
admin.site.register(Purchase, CorrectablePurchase)
admin.site.register(OutgoingTransaction, OutgoingTransactionAdmin)
admin.site.register(Response, CorrectableResponse)
admin.site.register(StaffTask, StaffTaskAdmin)
admin.site.register(StatusReport, StatusReportAdmin)
