"""A small Perma Payments, written from the contracts like the sandbox, for tests of the sandbox.

It can do no more than what a walkthrough needs, keeps everything in memory, and can be told to
make a mistake: its `faults` name what it gets wrong.
"""
from __future__ import annotations

import base64
import time
import uuid
from datetime import datetime, timedelta, timezone
from html import escape

from flask import Flask, Response, jsonify, request
from nacl.public import PrivateKey, PublicKey

from sandbox.config import Config
from sandbox.cybersource.signature import is_signed, sign
from sandbox.perma.box import PermaBox

SECRET_KEY = 'aZl8CDslsIkIF9IAO6KKk5LyGzSXKZ+Vhs2ck+lXKKA='
PERMA_PUBLIC_KEY = '+Y3Kni4Pm+5kWFJgsBL28TyKcgciQdPofRsTwUKaVSE='

DATE_TIME = '%Y-%m-%dT%H:%M:%S.%fZ'
WAY_BACK = ('<p><a href="http://localhost:8001/settings/subscription/">Back to Perma.cc</a> '
            'or write to help@example.com.</p>')


def payments_box():
    """The box at Perma Payments' end."""
    return PermaBox(
        secret_key=PrivateKey(base64.b64decode(SECRET_KEY)),
        public_key=PublicKey(base64.b64decode(PERMA_PUBLIC_KEY)))


class FakePayments:
    """The service and its memory; `app` is the WSGI application."""

    def __init__(self):
        self.sandbox_url = ''
        self.faults = set()
        self.box = payments_box()
        self.config = Config()
        self.secret = next(iter(self.config.cs_keys.values()))
        self.by_message = {}
        self.by_uuid = {}
        self.subscriptions = {}
        self.callbacks = []
        self.app = Flask('fake_payments')
        self.app.add_url_rule('/subscribe/', view_func=self.subscribe, methods=['POST'])
        self.app.add_url_rule('/subscription/', view_func=self.subscription, methods=['POST'])
        self.app.add_url_rule('/cybersource-callback/', view_func=self.callback, methods=['POST'])
        self.app.add_url_rule(
            '/submit.js', view_func=lambda: Response('', mimetype='text/javascript'))

    def subscribe(self):
        """Show a page with a signed form, or say why not."""
        sealed = request.form['encrypted_data']
        message = self.box.open(sealed)
        customer = (message['customer_type'], message['customer_pk'])
        transaction = self.by_message.get(sealed)
        if 'new uuid each time' in self.faults:
            transaction = None
        if transaction and transaction['answered']:
            return f'<h1>This page has expired</h1>{WAY_BACK}', 400
        if customer in self.subscriptions and 'sells twice' not in self.faults:
            return f'<h1>You already have a subscription</h1>{WAY_BACK}'
        if transaction is None:
            number = len(self.by_uuid) + 1
            transaction = {
                'uuid': str(uuid.uuid4()), 'reference': f'PERMA-0000-{number:04}',
                'customer': customer, 'message': message, 'answered': False}
            self.by_message[sealed] = self.by_uuid[transaction['uuid']] = transaction
        fields = {
            'access_key': next(iter(self.config.cs_keys)),
            'profile_id': self.config.cs_profile_id,
            'transaction_uuid': transaction['uuid'],
            'signed_date_time': datetime.now(timezone.utc).strftime('%Y-%m-%dT%H:%M:%SZ'),
            'locale': 'en-us',
            'transaction_type': 'sale,create_payment_token',
            'reference_number': transaction['reference'],
            'payment_method': 'card',
            'amount': message['amount'],
            'currency': 'USD',
            'recurring_amount': message['recurring_amount'],
            'recurring_frequency': message['recurring_frequency'],
            'recurring_start_date': message['recurring_start_date'].replace('-', ''),
        }
        fields['signed_field_names'] = ','.join(
            [*fields, 'signed_field_names', 'unsigned_field_names'])
        fields['unsigned_field_names'] = ''
        fields['signature'] = sign(fields, self.secret)
        if 'named csrf token' in self.faults:
            fields['csrfmiddlewaretoken'] = 'x'
        inputs = ''.join(
            f'<input type="hidden" name="{escape(name)}" value="{escape(value)}">'
            for name, value in fields.items())
        extra = '<form method="post"></form>' if 'two forms' in self.faults else ''
        page = Response(
            f'<h1>On to the payment</h1><form method="post" action="{self.sandbox_url}/pay" '
            f'accept-charset="UTF-8">{inputs}<button>Continue</button></form>'
            f'<script src="/submit.js"></script>{extra}', mimetype='text/html')
        if 'cached page' not in self.faults:
            page.headers['Cache-Control'] = 'no-store'
        return page

    def subscription(self):
        """Report a customer's subscription, sealed."""
        message = self.box.open(request.form['encrypted_data'])
        transaction = self.subscriptions.get((message['customer_type'], message['customer_pk']))
        reply = {
            'timestamp': time.time(), 'customer_pk': message['customer_pk'],
            'customer_type': message['customer_type'], 'purchases': [],
            'subscription': transaction and self.describe(transaction)}
        return jsonify(encrypted_data=self.box.seal(reply))

    def describe(self, transaction):
        """A standing subscription as the client reads it."""
        asked = transaction['message']
        start = datetime.strptime(asked['recurring_start_date'], '%Y-%m-%d')
        day = start - timedelta(days=1) if asked['recurring_frequency'] == 'monthly' else start
        effective = datetime.fromtimestamp(asked['link_limit_effective_timestamp'], timezone.utc)
        fraction = '%Y-%m-%dT%H:%M:%SZ' if 'no fraction' in self.faults else DATE_TIME
        return {
            'status': 'Current', 'rate': asked['recurring_amount'],
            'frequency': asked['recurring_frequency'], 'link_limit': asked['link_limit'],
            'link_limit_effective_timestamp': effective.strftime(DATE_TIME),
            'paid_through': day.replace(hour=23, minute=59, second=59).strftime(fraction),
            'reference_number': transaction['reference']}

    def callback(self):
        """Take a response of CyberSource."""
        fields = request.form.to_dict()
        if 'req_access_key' not in fields or not is_signed(fields, self.secret):
            return 'refused', 200 if 'takes anything' in self.faults else 400
        self.callbacks.append(fields)
        transaction = self.by_uuid[fields['req_transaction_uuid']]
        transaction['answered'] = True
        if fields['decision'] == 'ACCEPT':
            self.subscriptions.setdefault(transaction['customer'], transaction)
        return 'OK'
