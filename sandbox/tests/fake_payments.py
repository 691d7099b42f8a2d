"""A small Perma Payments, written from the contracts like the sandbox, for tests of the sandbox.

It can do no more than what a walkthrough needs, keeps everything in memory, and can be told to
make a mistake: its `faults` name what it gets wrong.
"""

from __future__ import annotations

import base64
import smtplib
import threading
import time
import uuid
from datetime import UTC, datetime
from email.message import EmailMessage
from html import escape

from flask import Flask, Response, jsonify, redirect, request
from nacl.public import PrivateKey, PublicKey

from sandbox.config import Config
from sandbox.cybersource.signature import is_signed, sign
from sandbox.perma.box import PermaBox

SECRET_KEY = "aZl8CDslsIkIF9IAO6KKk5LyGzSXKZ+Vhs2ck+lXKKA="
PERMA_PUBLIC_KEY = "+Y3Kni4Pm+5kWFJgsBL28TyKcgciQdPofRsTwUKaVSE="

DATE_TIME = "%Y-%m-%dT%H:%M:%S.%fZ"
WAY_BACK = (
    '<p><a href="http://localhost:8001/settings/subscription/">Back to Perma.cc</a> '
    "or write to help@example.com.</p>"
)


RETURNS = {
    ("subscribe", "ACCEPT"): "?subscription=success",
    ("purchase", "ACCEPT"): "?purchase=success",
    ("subscribe", "CANCEL"): "?subscription=canceled",
    ("purchase", "CANCEL"): "?purchase=canceled",
    ("change", "ACCEPT"): "?change=success",
    ("update", "ACCEPT"): "?update=success",
}


def payments_box():
    """The box at Perma Payments' end."""
    return PermaBox(
        secret_key=PrivateKey(base64.b64decode(SECRET_KEY)),
        public_key=PublicKey(base64.b64decode(PERMA_PUBLIC_KEY)),
    )


def plain_page(words):
    """A page that leads nowhere but back."""
    return f"<h1>{words}</h1>{WAY_BACK}"


class FakePayments:
    """The service and its memory; `app` is the WSGI application, `mail_port` a mail server's."""

    def __init__(self):
        self.sandbox_url = ""
        self.mail_port = None
        self.faults = set()
        self.box = payments_box()
        self.config = Config()
        self.secret = next(iter(self.config.cs_keys.values()))
        self.by_message = {}
        self.by_uuid = {}
        self.subscriptions = {}
        self.purchases = {}
        self.lock = threading.Lock()
        self.app = Flask("fake_payments")
        for path, view in {
            "/subscribe/": self.subscribe,
            "/change/": self.change,
            "/update/": self.update,
            "/purchase/": self.purchase,
            "/cancel-request/": self.cancel,
            "/subscription/": self.subscription,
            "/purchase-history/": self.history,
            "/acknowledge-purchase/": self.acknowledge,
            "/cybersource-callback/": self.callback,
        }.items():
            self.app.add_url_rule(path, view_func=view, methods=["POST"])
        self.app.add_url_rule("/return/", view_func=self.come_back, methods=["GET", "POST"])
        for path, status in {
            "/subscribe/": 200,
            "/purchase/": 200,
            "/change/": 405,
            "/update/": 405,
            "/cancel-request/": 405,
        }.items():
            self.app.add_url_rule(
                path,
                endpoint=path,
                methods=["GET"],
                view_func=lambda status=status: (
                    "" if "empty 405" in self.faults else plain_page("Nothing here"),
                    status,
                ),
            )
        self.app.add_url_rule("/submit.js", view_func=lambda: Response("", mimetype="text/javascript"))

    def opened(self):
        """The message of a request, and whom it is about."""
        message = self.box.open(request.form["encrypted_data"])
        return message, (message.get("customer_type"), message.get("customer_pk"))

    # Carried by the browser

    def subscribe(self):
        """Show a page with a signed form, or say why not."""
        message, customer = self.opened()
        known = self.by_message.get(request.form["encrypted_data"])
        if known and known["answered"]:
            return plain_page("This page has expired"), 400
        if customer in self.subscriptions and "sells twice" not in self.faults:
            return plain_page("You already have a subscription")
        return self.checkout(
            "/pay",
            self.begin("subscribe", message, customer),
            {
                "transaction_type": "sale,create_payment_token",
                "amount": message["amount"],
                "currency": "USD",
                "recurring_amount": message["recurring_amount"],
                "recurring_frequency": message["recurring_frequency"],
                "recurring_start_date": message["recurring_start_date"].replace("-", ""),
            },
        )

    def change(self):
        """The same for another plan."""
        message, customer = self.opened()
        subscription = self.modifiable(customer)
        if subscription is None:
            return plain_page("There is nothing to change")
        is_sale = float(message["amount"]) > 0
        transaction_type = "sale,update_payment_token" if is_sale else "update_payment_token"
        path = "/pay" if is_sale or "posts to /pay" in self.faults else "/token/update"
        return self.checkout(
            path,
            self.begin("change", message, customer, subscription),
            {
                "transaction_type": transaction_type,
                "amount": message["amount"],
                "currency": "USD",
                "recurring_amount": message["recurring_amount"],
                **self.token_fields(subscription),
            },
        )

    def update(self):
        """The same for another card."""
        message, customer = self.opened()
        subscription = self.modifiable(customer)
        if subscription is None:
            return plain_page("There is nothing to change")
        transaction = self.begin("update", message, customer, subscription)
        return self.checkout(
            "/token/update",
            transaction,
            {"transaction_type": "update_payment_token", **self.token_fields(subscription)},
        )

    def purchase(self):
        """The same for bonus links."""
        message, customer = self.opened()
        return self.checkout(
            "/pay",
            self.begin("purchase", message, customer),
            {"transaction_type": "sale", "amount": message["amount"], "currency": "USD"},
        )

    def cancel(self):
        """Lead back to Perma.cc and tell staff, once."""
        _, customer = self.opened()
        subscription = self.subscriptions.get(customer)
        if subscription is None:
            return plain_page("There is nothing to cancel")
        if subscription["status"] != "Cancellation Requested" or "mails twice" in self.faults:
            self.send_mail(customer, subscription)
        subscription["status"] = "Cancellation Requested"
        if "forgets cancellation" in self.faults:
            subscription["status"] = "Current"
        if "no redirect" in self.faults:
            return plain_page("Cancelled")
        return redirect(f"{self.sandbox_url}/settings/subscription/", 302)

    def modifiable(self, customer):
        """The customer's subscription, if it can be altered."""
        subscription = self.subscriptions.get(customer)
        if subscription and subscription["status"] != "Current" and "alters what is cancelled" not in self.faults:
            return None
        return subscription

    def token_fields(self, subscription):
        """What a form has that alters a subscription."""
        return {"payment_token": subscription["token"], "allow_payment_token_update": "true"}

    def begin(self, kind, message, customer, subscription=None):
        """The transaction of a message: the one it began before, or a new one."""
        sealed = request.form["encrypted_data"]
        transaction = self.by_message.get(sealed)
        if transaction is None or "new uuid each time" in self.faults:
            reference = subscription and subscription["reference"]
            if reference is None or "new reference" in self.faults:
                reference = f"PERMA-0000-{len(self.by_uuid) + 1:04}"
            transaction = {
                "kind": kind,
                "uuid": str(uuid.uuid4()),
                "reference": reference,
                "customer": customer,
                "message": message,
                "answered": False,
            }
            self.by_message[sealed] = self.by_uuid[transaction["uuid"]] = transaction
        return transaction

    def checkout(self, path, transaction, about):
        """The page with the signed form."""
        fields = {
            "access_key": next(iter(self.config.cs_keys)),
            "profile_id": self.config.cs_profile_id,
            "transaction_uuid": transaction["uuid"],
            "signed_date_time": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "locale": "en-us",
            "reference_number": transaction["reference"],
            "payment_method": "card",
            **about,
        }
        fields["signed_field_names"] = ",".join([*fields, "signed_field_names", "unsigned_field_names"])
        fields["unsigned_field_names"] = ""
        fields["signature"] = sign(fields, self.secret)
        if "named csrf token" in self.faults:
            fields["csrfmiddlewaretoken"] = "x"
        inputs = "".join(
            f'<input type="hidden" name="{escape(name)}" value="{escape(value)}">'
            for name, value in fields.items()
        )
        extra = '<form method="post"></form>' if "two forms" in self.faults else ""
        page = Response(
            f'<h1>On to the payment</h1><form method="post" action="{self.sandbox_url}{path}" '
            f'accept-charset="UTF-8">{inputs}<button>Continue</button></form>'
            f'<script src="/submit.js"></script>{extra}',
            mimetype="text/html",
        )
        if "cached page" not in self.faults:
            page.headers["Cache-Control"] = "no-store"
        return page

    def send_mail(self, customer, subscription):
        """Tell staff of a cancellation request."""
        if "no mail" in self.faults:
            return
        mail = EmailMessage()
        mail["From"], mail["To"] = "payments@example.com", "staff@example.com"
        mail["Reply-To"] = "help@example.com"
        mail["Subject"] = f"Cancel {subscription['reference']}"
        lines = [f"Cancel {subscription['reference']} in the Business Center."]
        if "mail without link" not in self.faults:
            lines.append(f"https://perma.example/admin/registrar/{customer[1]}/")
        if "personal mail" in self.faults:
            lines.append(f"It is for {subscription['name']}.")
        mail.set_content("\n".join(lines))
        with smtplib.SMTP("127.0.0.1", self.mail_port, timeout=30) as server:
            server.send_message(mail)

    # Server to server

    def sealed(self, message, **fields):
        """A sealed reply about the customer of a message."""
        return jsonify(
            encrypted_data=self.box.seal(
                {
                    "timestamp": time.time(),
                    "customer_pk": message["customer_pk"],
                    "customer_type": message["customer_type"],
                    **fields,
                }
            )
        )

    def subscription(self):
        """Report a customer's subscription, and what is paid for and not acknowledged."""
        message, customer = self.opened()
        subscription = self.subscriptions.get(customer)
        return self.sealed(
            message,
            subscription=subscription and self.describe(subscription),
            purchases=[
                {"id": purchase["id"], "link_quantity": purchase["link_quantity"]}
                for purchase in self.purchases.values()
                if purchase["customer"] == customer and not purchase["acknowledged"]
            ],
        )

    def describe(self, subscription):
        """A standing subscription as the client reads it."""
        terms = subscription["terms"]
        start = datetime.strptime(subscription["start"], "%Y-%m-%d")
        effective = datetime.fromtimestamp(terms["link_limit_effective_timestamp"], UTC)
        if "forgets the future" in self.faults:
            effective = min(effective, datetime.now(UTC))
        fraction = "%Y-%m-%dT%H:%M:%SZ" if "no fraction" in self.faults else DATE_TIME
        return {
            "status": subscription["status"],
            "rate": terms["recurring_amount"],
            "frequency": subscription["frequency"],
            "link_limit": terms["link_limit"],
            "link_limit_effective_timestamp": effective.strftime(DATE_TIME),
            "paid_through": start.strftime(fraction),
            "reference_number": subscription["reference"],
        }

    def history(self):
        """List what a customer has paid for."""
        message, customer = self.opened()
        fraction = "%Y-%m-%dT%H:%M:%SZ" if "odd dates" in self.faults else DATE_TIME
        return self.sealed(
            message,
            purchase_history=[]
            if "no history" in self.faults
            else [
                {
                    "id": purchase["id"],
                    "link_quantity": purchase["link_quantity"],
                    "date": purchase["date"].strftime(fraction),
                    "reference_number": purchase["reference"],
                }
                for purchase in self.purchases.values()
                if purchase["customer"] == customer
            ],
        )

    def acknowledge(self):
        """Take the first acknowledgement of a purchase."""
        message, _ = self.opened()
        with self.lock:
            purchase = self.purchases[message["purchase_pk"]]
            refused = purchase["acknowledged"] and "takes all" not in self.faults
            purchase["acknowledged"] = "keeps offering" not in self.faults
        return jsonify(status="refused" if refused else "ok"), 400 if refused else 200

    # From CyberSource

    def come_back(self):
        """Take it from the customer's browser, and lead on to Perma.cc."""
        fields = request.form.to_dict()
        query = ""
        if "req_access_key" in fields and (
            is_signed(fields, self.secret) or "believes the browser" in self.faults
        ):
            if "deaf to the browser" not in self.faults:
                self.callback()
            kind = self.by_uuid[fields["req_transaction_uuid"]]["kind"]
            query = RETURNS.get((kind, fields["decision"]), "")
        if "always says success" in self.faults:
            query = "?subscription=success"
        if "old address" in self.faults:
            return redirect(f"{self.sandbox_url}/settings/subscription/{query}", 303)
        code = 302 if "returns with 302" in self.faults else 303
        return redirect(f"{self.sandbox_url}/settings/usage-plan/{query}", code)

    def callback(self):
        """Take a response of CyberSource."""
        fields = request.form.to_dict()
        if "req_access_key" not in fields or not is_signed(fields, self.secret):
            return "refused", 200 if "takes anything" in self.faults else 400
        transaction = self.by_uuid[fields["req_transaction_uuid"]]
        with self.lock:
            transaction["answered"] = True
            counts = not transaction.get("applied") or "counts each delivery" in self.faults
            if (fields["decision"] == "ACCEPT" and counts) or "believes all" in self.faults:
                transaction["applied"] = True
                self.apply(transaction, fields)
        return "OK"

    def apply(self, transaction, fields):
        """What was paid for takes effect, once."""
        customer, message = transaction["customer"], transaction["message"]
        if transaction["kind"] == "purchase":
            self.purchases[len(self.purchases) + 1] = {
                "id": len(self.purchases) + 1,
                "customer": customer,
                "acknowledged": False,
                "link_quantity": message["link_quantity"],
                "date": datetime.now(UTC),
                "reference": transaction["reference"],
            }
        elif transaction["kind"] == "subscribe":
            self.subscriptions.setdefault(
                customer,
                {
                    "status": "Current",
                    "reference": transaction["reference"],
                    "terms": message,
                    "frequency": message["recurring_frequency"],
                    "start": message["recurring_start_date"],
                    "token": fields.get("payment_token"),
                    "name": fields.get("req_bill_to_surname"),
                },
            )
        else:
            subscription = self.subscriptions[customer]
            if transaction["kind"] == "change":
                subscription["terms"] = message
            if "keeps the old token" not in self.faults:
                subscription["token"] = fields.get("payment_token", subscription["token"])
