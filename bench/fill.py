"""A database as years of real life leave it.

`fill` puts agreements into an empty, migrated database, with all that grows with them: purchases, checkouts,
sealed responses, staff tasks, status reports as the purge leaves them, and the history of each. The same number
gives the same rows, but for their times, which run from eight years ago until now.

A customer has two agreements on average, and only the latest may stand. Registrar 1 has about 3,000 agreements and
as many purchases, or a tenth of all if there are fewer than 30,000.
"""

from typing import Any

import psycopg2

# A number of eight digits for each n, in no order, as ReferenceNumber.issue draws them.
_REFERENCE = (
    "'PERMA-' || to_char(n * 76543211 % 100000000 / 10000, 'FM0000')"
    " || '-' || to_char(n * 76543211 % 10000, 'FM0000')"
)

_TRANSACTION_TYPE = (
    "CASE kind WHEN 'subscribe' THEN 'sale,create_payment_token' WHEN 'change' THEN 'sale,update_payment_token'"
    " WHEN 'update' THEN 'update_payment_token' ELSE 'sale' END"
)
_TYPE = "CASE customer % 2 WHEN 0 THEN 'Registrar' ELSE 'Individual' END"

# Random bytes cannot be compressed. Each response has a slice of these.
_NOISE = """
CREATE TEMP TABLE noise AS
SELECT string_agg(sha256(n::text::bytea), ''::bytea ORDER BY n) AS bytes FROM generate_series(1, 4096) n;
"""

_PEOPLE = """
INSERT INTO auth_user (
    password, is_superuser, username, first_name, last_name, email, is_staff, is_active, date_joined)
SELECT '!', false, 'staff-' || n, '', '', '', true, true, now() - interval '3000 days'
FROM generate_series(1, 3) n;

CREATE TEMP TABLE staff AS
SELECT id, row_number() OVER (ORDER BY id) - 1 AS number FROM auth_user WHERE username ~ '^staff-[123]$';
"""

# One row per agreement, in the order in which they began; `back` counts a customer's agreements from the latest.
_LIVES = """
CREATE TEMP TABLE life AS
WITH drawn AS (
    SELECT n,
        CASE WHEN n % greatest(10, {agreements} / 3000) = 0 THEN 0
            ELSE 1 + floor({customers} * power(random(), 1.5))::int END AS customer,
        CASE WHEN n > {agreements} - {pending} THEN now() - interval '20 hours' * random()
            ELSE now() - interval '1 day 1 hour'
                - interval '3000 days' * (1 - n::float8 / ({agreements} - {pending})) END AS created,
        random() AS draw, random() AS part
    FROM generate_series(1::bigint, {agreements}) n
), ranked AS (
    SELECT *, row_number() OVER (PARTITION BY customer ORDER BY n DESC) AS back FROM drawn
), known AS (
    SELECT *,
        CASE
            WHEN n > {agreements} - {pending} OR n % greatest({agreements} / 20, 50) = 17 THEN 'Pending'
            WHEN back = 1 THEN CASE WHEN draw < .68 THEN 'Current' WHEN draw < .72 THEN 'Hold'
                WHEN draw < .76 THEN 'Running out' WHEN draw < .88 THEN 'Canceled' WHEN draw < .90 THEN 'Completed'
                WHEN draw < .96 THEN 'Abandoned' WHEN draw < .98 THEN 'Rejected' ELSE 'Aborted' END
            ELSE CASE WHEN draw < .45 THEN 'Canceled' WHEN draw < .49 THEN 'Superseded'
                WHEN draw < .51 THEN 'Completed' WHEN draw < .76 THEN 'Abandoned' WHEN draw < .89 THEN 'Rejected'
                ELSE 'Aborted' END
        END AS state
    FROM ranked
), ended AS (
    SELECT *,
        state NOT IN ('Pending', 'Abandoned', 'Rejected', 'Aborted') AS is_accepted,
        CASE WHEN n % 5 = 0 THEN interval '1 year' ELSE interval '1 month' END AS period,
        created + interval '3 minutes' AS accepted,
        CASE state
            WHEN 'Current' THEN NULL
            WHEN 'Pending' THEN NULL
            WHEN 'Abandoned' THEN created + interval '25 hours'
            WHEN 'Rejected' THEN created + interval '4 minutes'
            WHEN 'Aborted' THEN created + interval '2 minutes'
            WHEN 'Running out' THEN greatest(created + interval '1 hour', now() - interval '9 days' * part)
            WHEN 'Hold' THEN greatest(created + interval '1 hour', now() - interval '20 days' * part)
            ELSE created + interval '1 hour' + (now() - interval '1 day' - created) * part
        END AS ended
    FROM known
)
SELECT n, {type} AS type, customer / 2 + 1 AS pk, created, accepted, ended, period, draw, part, is_accepted,
    CASE state WHEN 'Running out' THEN 'Canceled' ELSE state END AS status, {reference} AS reference,
    CASE WHEN n % 5 = 0 THEN 'annually' ELSE 'monthly' END AS frequency, 10 + n % 7 * 35 AS rate,
    (10 * (1 + n % 6))::text AS links,
    -- Charges that have been reported, two years of them at most.
    CASE WHEN is_accepted THEN least(24, extract(epoch FROM coalesce(ended, now()) - accepted)
        / extract(epoch FROM period))::int ELSE 0 END AS charges,
    CASE
        WHEN state = 'Current' THEN date_trunc('day', now() + interval '1 day' + interval '29 days' * part)
        WHEN state = 'Running out' THEN date_trunc('day', now() + interval '2 days' + interval '20 days' * part)
        WHEN state = 'Hold' THEN date_trunc('day', ended)
        WHEN is_accepted THEN least(ended + interval '20 days' * draw, now() - interval '1 hour')
    END AS covered
FROM ended;
ANALYZE life;
"""

_REFERENCE_NUMBERS = """
INSERT INTO perma_payments_referencenumber (value)
SELECT {reference} FROM generate_series(1::bigint, {agreements} + {purchases}) n;
"""

_TERMS = (
    "current_rate, current_frequency, current_link_limit, current_link_limit_effective_timestamp, schedule_start"
)

_AGREEMENTS = f"""
INSERT INTO perma_payments_subscriptionagreement (
    id, customer_type, customer_pk, status, reference_number, payment_token, {_TERMS},
    scheduled_rate, scheduled_link_limit, scheduled_from, covered_until, coverage_proof, next_charge_on,
    cancellation_requested_at, created_at, updated_at)
SELECT n, type, pk, status, reference,
    CASE WHEN is_accepted THEN '7' || to_char(n * 76543211 % 100000000, 'FM000000000000000000000') ELSE '' END,
    CASE WHEN is_accepted THEN rate END, CASE WHEN is_accepted THEN frequency END,
    CASE WHEN is_accepted THEN links END, CASE WHEN is_accepted THEN created END,
    CASE WHEN is_accepted THEN (created + period)::date END,
    CASE WHEN is_scheduled THEN 10 END, CASE WHEN is_scheduled THEN '10' END,
    CASE WHEN is_scheduled THEN covered - interval '5 days' END,
    covered, CASE WHEN covered IS NULL THEN '' WHEN charges = 0 THEN 'checkout' ELSE 'report' END,
    CASE WHEN status = 'Current' AND charges > 0 THEN covered::date END,
    CASE WHEN status = 'Current' AND n % 50 = 3 THEN now() - interval '20 days' * part
        WHEN status = 'Canceled' AND part < .6 THEN greatest(accepted, ended - interval '5 days') END,
    created, coalesce(ended, greatest(accepted, covered - period))
FROM (SELECT *, is_accepted AND n % 40 = 1 AS is_scheduled FROM life) drawn;
"""

# The checkout, its response, the report of each charge, and the end.
_AGREEMENT_EVENTS = f"""
INSERT INTO perma_payments_subscriptionagreementevent (
    pgh_created_at, pgh_label, pgh_context, id, pgh_obj_id, customer_type, customer_pk, status, reference_number,
    {_TERMS}, covered_until, coverage_proof, next_charge_on, cancellation_requested_at, created_at, updated_at)
SELECT at, CASE WHEN step = -1 THEN 'insert' ELSE 'update' END,
    CASE WHEN step = -1 THEN jsonb_build_object('source', 'customer request')
        WHEN step = 0 THEN jsonb_build_object('source', 'CyberSource response', 'response', n)
        WHEN is_accepted THEN jsonb_build_object('source', 'status report', 'report', 1 + n % 90)
        WHEN status = 'Abandoned' THEN jsonb_build_object('source', 'scheduler')
        ELSE jsonb_build_object('source', 'CyberSource response', 'response', n) END,
    n, n, type, pk,
    CASE WHEN step = -1 THEN 'Pending' WHEN is_last THEN status ELSE 'Current' END, reference,
    CASE WHEN has_terms THEN rate END, CASE WHEN has_terms THEN frequency END,
    CASE WHEN has_terms THEN links END, CASE WHEN has_terms THEN created END,
    CASE WHEN has_terms THEN (created + period)::date END,
    CASE WHEN has_terms THEN covered - period * greatest(charges - step, 0) END,
    CASE WHEN NOT has_terms THEN '' WHEN step = 0 THEN 'checkout' ELSE 'report' END,
    CASE WHEN has_terms AND step > 0 AND NOT is_last
        THEN (covered - period * greatest(charges - step, 0))::date END,
    CASE WHEN is_last AND status = 'Canceled' AND part < .6 THEN greatest(accepted, ended - interval '5 days') END,
    created, at
FROM (
    SELECT life.*, step, step >= 0 AND is_accepted AS has_terms, is_last,
        CASE WHEN step = -1 THEN created WHEN is_last THEN ended WHEN step = 0 THEN accepted
            -- The latest charges come last, and none after the end.
            ELSE coalesce(ended, now())
                - (coalesce(ended, now()) - accepted) * (charges + 1 - step) / (charges + 1)
        END AS at
    FROM life
    CROSS JOIN LATERAL generate_series(-1, CASE WHEN status = 'Pending' THEN -1
        WHEN NOT is_accepted THEN 0 ELSE charges + (ended IS NOT NULL)::int END) step
    CROSS JOIN LATERAL (SELECT ended IS NOT NULL AND step = charges + is_accepted::int AS is_last) last
) moment
ORDER BY at, n;
"""

_PURCHASES = """
CREATE TEMP TABLE buy AS
SELECT n, {type} AS type, customer / 2 + 1 AS pk, created, status, {reference} AS reference,
    n - {agreements} AS id, (n % 4 + 1) * 10 AS links, created + interval '2 minutes' AS paid,
    -- Within seconds, as a rule; a few are waiting.
    CASE WHEN n % 1000 > 0 AND n < {agreements} + {purchases} - 3 THEN created + interval '3 minutes' END
        AS credited
FROM (
    SELECT n,
        CASE WHEN n % greatest(10, {purchases} / 3000) = 0 THEN 0
            ELSE 1 + floor({customers} * power(random(), 1.5))::int END AS customer,
        CASE WHEN n > {agreements} + {purchases} - {pending} THEN now() - interval '20 hours' * random()
            ELSE now() - interval '1 day 1 hour'
                - interval '3000 days' * (1 - (n - {agreements})::float8 / {purchases}) END AS created,
        CASE WHEN n > {agreements} + {purchases} - {pending} AND n % 3 > 0 THEN 'Pending'
            ELSE (ARRAY['Paid', 'Paid', 'Paid', 'Paid', 'Paid', 'Paid', 'Paid', 'Paid', 'Paid', 'Paid', 'Paid',
                'Paid', 'Paid', 'Paid', 'Abandoned', 'Abandoned', 'Abandoned', 'Refused', 'Refused', 'Aborted'])
                [1 + floor(20 * random())] END AS status
    FROM generate_series({agreements} + 1::bigint, {agreements} + {purchases}) n
) drawn;
ANALYZE buy;

INSERT INTO perma_payments_purchase (
    id, customer_type, customer_pk, status, reference_number, amount, link_quantity, paid_at, acknowledged_at,
    created_at, updated_at)
SELECT id, type, pk, status, reference, links, links, CASE WHEN status = 'Paid' THEN paid END,
    CASE WHEN status = 'Paid' THEN credited END, created, coalesce(credited, paid)
FROM buy;

INSERT INTO perma_payments_purchaseevent (
    pgh_created_at, pgh_label, pgh_context, id, pgh_obj_id, customer_type, customer_pk, status, reference_number,
    amount, link_quantity, paid_at, acknowledged_at, created_at, updated_at)
SELECT at, CASE step WHEN 0 THEN 'insert' ELSE 'update' END,
    CASE step WHEN 0 THEN jsonb_build_object('source', 'customer request')
        WHEN 1 THEN jsonb_build_object('source', 'CyberSource response', 'response', n)
        ELSE jsonb_build_object('source', 'Perma.cc acknowledgement') END,
    id, id, type, pk, CASE step WHEN 0 THEN 'Pending' ELSE status END, reference, links, links,
    CASE WHEN step > 0 AND status = 'Paid' THEN paid END, CASE WHEN step = 2 THEN credited END, created, at
FROM (
    SELECT buy.*, step, (ARRAY[created, paid, credited])[step + 1] AS at
    FROM buy
    CROSS JOIN LATERAL generate_series(0, CASE status WHEN 'Pending' THEN 0
        WHEN 'Paid' THEN 1 + (credited IS NOT NULL)::int ELSE 1 END) step
) moment
ORDER BY at, id;
"""

# One to subscribe or to buy, and now and then a change or a new card.
_CHECKOUTS = """
CREATE TEMP TABLE checkout AS
SELECT row_number() OVER (ORDER BY created, kind, n) AS id, * FROM (
    SELECT 'subscribe' AS kind, n, n AS agreement, NULL::bigint AS purchase, created, status,
        is_accepted AS is_paid,
        rate, links, frequency, (created + period)::date AS start, reference
    FROM life
    UNION ALL
    SELECT CASE WHEN which = 1 THEN 'change' ELSE 'update' END, n, n, NULL,
        created + (coalesce(ended, now()) - created) * (.2 + .3 * which), status, n % 9 > 0, rate, links, NULL,
        NULL, reference
    FROM life CROSS JOIN generate_series(1, 2) which
    WHERE is_accepted AND n % 4 = which
    UNION ALL
    SELECT 'purchase', n, NULL, id, created, status, status = 'Paid', links, NULL, NULL, NULL, reference FROM buy
) known;
ANALYZE checkout;

INSERT INTO perma_payments_outgoingtransaction (
    id, kind, transaction_uuid, transaction_type, agreement_id, purchase_id, message_nonce, amount,
    recurring_amount, recurring_frequency, recurring_start_date, link_limit, link_limit_effective_timestamp,
    change_kind, created_at)
SELECT id, kind, md5('uuid' || id)::uuid,
    {transaction_type},
    agreement, purchase, substr(sha256(('nonce' || id)::bytea), 1, 24),
    CASE WHEN kind <> 'update' THEN rate END, CASE WHEN kind IN ('subscribe', 'change') THEN rate END,
    CASE WHEN kind = 'subscribe' THEN frequency END, CASE WHEN kind = 'subscribe' THEN start END,
    CASE WHEN kind IN ('subscribe', 'change') THEN links END,
    CASE WHEN kind IN ('subscribe', 'change') THEN created END,
    CASE WHEN kind = 'change' THEN (ARRAY['upgrade', 'downgrade', 'taking back'])[1 + n % 3] END, created
FROM checkout;
"""

# Some were declined before they were paid. A few belong to none of our checkouts; a few come in just now.
_RESPONSES = """
CREATE TEMP TABLE said AS
SELECT row_number() OVER (ORDER BY at, checkout, try) AS id, * FROM (
    SELECT id AS checkout, try, kind, reference, rate, created + interval '1 minute' * (1 + try) AS at,
        CASE WHEN try = 0 AND is_paid THEN 'DECLINE' WHEN is_paid AND id % 400 = 9 THEN 'REVIEW'
            WHEN is_paid THEN 'ACCEPT' WHEN status = 'Pending' THEN 'ERROR' WHEN status = 'Aborted' THEN 'CANCEL'
            ELSE 'DECLINE' END AS decision
    FROM checkout CROSS JOIN generate_series(0, 1) try
    WHERE (try = 1 OR id % 12 = 5 AND is_paid) AND status <> 'Abandoned'
        AND NOT (status = 'Pending' AND created > now() - interval '1 day')
    UNION ALL
    SELECT NULL, n, 'purchase', 'ORDER-' || n, 15, now() - interval '3000 days' * n / {unmatched}, 'ACCEPT'
    FROM generate_series(1, {unmatched}) n
) known;
ANALYZE said;

INSERT INTO perma_payments_response (
    id, fingerprint, outgoing_id, transaction_uuid, transaction_id, decision, reason_code, message,
    transaction_type, reference_number, amount, currency, auth_amount, payment_token, brought_token,
    token_is_unusable, is_ambiguous, signed_at, sealed, archive_key_id, recorded_by_id, received_at, failure,
    applied_at, outcome)
SELECT id, sha256(('fingerprint' || id)::bytea), checkout,
    coalesce(md5('uuid' || checkout)::uuid::text, 'elsewhere'),
    '7' || to_char(id * 76543211 % 100000000, 'FM000000000000000000000'), decision,
    CASE decision WHEN 'ACCEPT' THEN '100' WHEN 'REVIEW' THEN '480' WHEN 'ERROR' THEN '104' WHEN 'CANCEL' THEN ''
        ELSE '203' END,
    CASE decision WHEN 'ACCEPT' THEN 'Request was processed successfully.' ELSE '(withheld)' END,
    {transaction_type},
    reference, CASE kind WHEN 'update' THEN '' ELSE rate || '.00' END,
    CASE kind WHEN 'update' THEN '' ELSE 'USD' END,
    CASE WHEN decision IN ('ACCEPT', 'REVIEW') AND kind <> 'update' THEN rate || '.00' ELSE '' END, '',
    decision = 'ACCEPT' AND kind = 'subscribe', false, false, at,
    CASE WHEN is_recorded THEN '' ELSE substr((SELECT bytes FROM noise), (1 + id * 7919 % 128000)::int, 2400) END,
    CASE WHEN is_recorded THEN '' ELSE '2020' END, CASE WHEN is_recorded THEN (SELECT min(id) FROM staff) END,
    at, '', CASE WHEN is_applied THEN at + interval '1 second' END,
    CASE WHEN NOT is_applied THEN '' WHEN checkout IS NULL THEN 'unmatched'
        WHEN decision IN ('ACCEPT', 'REVIEW') OR kind = 'subscribe' THEN 'took effect' ELSE 'no effect' END
FROM (SELECT *, id % 3000 = 11 AS is_recorded, id <= (SELECT max(id) - 3 FROM said) AS is_applied FROM said) known;

-- The older ones were sealed to another key once.
INSERT INTO perma_payments_responseevent (pgh_created_at, pgh_label, pgh_context, archive_key_id, pgh_obj_id)
SELECT now() - interval '1700 days', 'resealed', jsonb_build_object('source', 'resealing', 'key', '2020'),
    '2018', id
FROM said WHERE at < now() - interval '1800 days' ORDER BY id;
"""

# The last few of each kind are open.
_TASKS = """
CREATE TEMP TABLE task AS
SELECT row_number() OVER (ORDER BY opened, kind, agreement, response) AS id,
    row_number() OVER (PARTITION BY kind ORDER BY opened DESC) AS back, * FROM (
    SELECT 'cancellation' AS kind, id AS agreement, NULL::bigint AS response, cancellation_requested_at AS opened
    FROM perma_payments_subscriptionagreement WHERE cancellation_requested_at IS NOT NULL
    UNION ALL
    SELECT CASE decision WHEN 'REVIEW' THEN 'held for review' ELSE 'indeterminate' END, agreement, said.id, at
    FROM said JOIN checkout ON checkout.id = checkout
    WHERE decision IN ('REVIEW', 'ERROR') AND agreement IS NOT NULL
    UNION ALL
    SELECT 'unmatched', NULL, id, at FROM said WHERE checkout IS NULL
    UNION ALL
    SELECT 'report missing', NULL, NULL, now() - interval '1 month' * n FROM generate_series(1, 90, 11) n
) known;
ANALYZE task;

INSERT INTO perma_payments_stafftask (
    id, kind, agreement_id, response_id, opened_at, notified_at, claimed_by_id, claimed_at, done_at, done_by_id,
    resolution, note)
SELECT task.id, kind, agreement, response, opened, opened + interval '5 seconds',
    CASE WHEN is_claimed THEN staff.id END, CASE WHEN is_claimed THEN opened + interval '1 hour' END,
    CASE WHEN NOT is_open THEN least(opened + interval '2 days', now()) END,
        CASE WHEN NOT is_open THEN staff.id END,
    CASE WHEN NOT is_open THEN 'done' ELSE '' END, ''
FROM (
    SELECT *, is_open AND back = 1 AS is_claimed
    FROM (SELECT *, kind <> 'report missing' AND back <= least(12, {agreements} / 100) AS is_open FROM task) known
) task
JOIN staff ON staff.number = task.id % 3;

INSERT INTO perma_payments_stafftaskevent (
    pgh_created_at, pgh_label, pgh_context, id, pgh_obj_id, kind, agreement_id, response_id, opened_at,
    notified_at, claimed_by_id, claimed_at, done_at, done_by_id, resolution, note)
SELECT at, CASE step WHEN 0 THEN 'insert' ELSE 'update' END,
    CASE step WHEN 1 THEN jsonb_build_object('source', 'mail')
        WHEN 2 THEN jsonb_build_object('source', 'staff', 'user', done_by_id)
        ELSE jsonb_build_object('source', 'customer request') END,
    id, id, kind, agreement_id, response_id, opened_at, CASE WHEN step > 0 THEN notified_at END, NULL, NULL,
    CASE WHEN step = 2 THEN done_at END, CASE WHEN step = 2 THEN done_by_id END,
    CASE WHEN step = 2 THEN resolution ELSE '' END, note
FROM (
    SELECT task.*, step, (ARRAY[opened_at, notified_at, done_at])[step + 1] AS at
    FROM perma_payments_stafftask AS task
    CROSS JOIN LATERAL generate_series(0, 1 + (done_at IS NOT NULL)::int) step
) moment
ORDER BY at, id;

-- Each request to cancel used up a message.
INSERT INTO perma_payments_usedmessage (nonce, used_at)
SELECT substr(sha256(('cancel' || id)::bytea), 1, 24), opened FROM task WHERE kind = 'cancellation' ORDER BY id;
"""

# One a month. The last has all of its lines, the two before it what they change, the others the exceptions.
_REPORTS = """
INSERT INTO perma_payments_statusreport (
    id, state, revision, digest, made_on, row_count, matched_count, change_count, charge_counts, dates_count,
    kept_lines, is_purged, unread_rows, unknown_statuses, spoiled_ids, unreadable_dates, unreadable_terms,
    duplicate_count, duplicates, unknown_count, unknown_references, warnings, tasks_ended, tasks_opened,
    uploaded_by_id, uploaded_at, applied_by_id, applied_at, reverted_by_id, reverted_at)
SELECT n, CASE WHEN n % 30 = 7 THEN 'reverted' ELSE 'applied' END, 1, encode(sha256(n::text::bytea), 'hex'),
    at::date,
    {agreements} / 4, {agreements} / 4, {agreements} / 5, jsonb_build_object('proven', {agreements} / 5),
    {agreements} / 5, CASE WHEN n = 96 THEN 'all' WHEN n >= 94 THEN 'changes' ELSE 'exceptions' END, true,
    '[]', '{{}}', 0, 0, 0, 0, '[]', 40, '[]', '[]', '[]', '[]', staff.id, at, staff.id, at + interval '5 minutes',
    CASE WHEN n % 30 = 7 THEN staff.id END, CASE WHEN n % 30 = 7 THEN at + interval '1 hour' END
FROM (SELECT n, now() - interval '1 month' * (96 - n) - interval '3 days' AS at FROM generate_series(1, 96) n) made
JOIN staff ON staff.number = n % 3;

INSERT INTO perma_payments_statusreportline (
    report_id, agreement_id, status, charge_news, next_charge_on, amount, frequency, subscription_id, before,
    after, takes_token, ignores_date, our_terms, is_incomplete)
SELECT report.id, n, CASE WHEN is_ending THEN 'Canceled' ELSE 'Current' END,
    CASE WHEN is_ending THEN 'ended' WHEN is_changing THEN 'proven' ELSE 'nothing new' END,
    CASE WHEN NOT is_ending THEN covered::date END, rate, frequency, '',
    CASE WHEN is_ending THEN jsonb_build_object('status', 'Current') WHEN is_changing THEN jsonb_build_object(
        'covered_until', covered - period, 'next_charge_on', (covered - period)::date) END,
    CASE WHEN is_ending THEN jsonb_build_object('status', 'Canceled') WHEN is_changing THEN jsonb_build_object(
        'covered_until', covered, 'next_charge_on', covered::date) END,
    false, false,
    CASE WHEN n % 500 = 1 THEN jsonb_build_object('amount', '45.00', 'frequency', frequency) END, false
FROM (SELECT id, uploaded_at, kept_lines FROM perma_payments_statusreport) report
CROSS JOIN LATERAL (
    SELECT *, false AS is_ending, period < interval '1 year' AND n % 3 > 0 AS is_changing
    FROM life WHERE report.id >= 94 AND status IN ('Current', 'Hold') AND accepted < report.uploaded_at
    UNION ALL
    SELECT *, true, true FROM life
    WHERE status = 'Canceled' AND ended > report.uploaded_at - interval '1 month' AND ended <= report.uploaded_at
) told
WHERE kept_lines = 'all' OR is_ending OR n % 500 = 1 OR (kept_lines = 'changes' AND is_changing)
ORDER BY report.id, n;
"""

_SEQUENCES = "".join(
    f"SELECT setval(pg_get_serial_sequence('perma_payments_{table}', 'id'), max(id)) FROM perma_payments_{table};"
    for table in (
        "subscriptionagreement",
        "purchase",
        "outgoingtransaction",
        "response",
        "stafftask",
        "statusreport",
    )
)

_STEPS = (
    _NOISE,
    _PEOPLE,
    _LIVES,
    _REFERENCE_NUMBERS,
    _AGREEMENTS,
    _AGREEMENT_EVENTS,
    _PURCHASES,
    _CHECKOUTS,
    _RESPONSES,
    _TASKS,
    _REPORTS,
    _SEQUENCES,
    "DROP TABLE noise, staff, life, buy, checkout, said, task;",
)


def fill_tables(cursor: Any, *, agreements: int) -> None:
    """Insert the rows, with the constraints and triggers that are in force. At least 300 agreements."""
    numbers = {
        "agreements": agreements,
        "purchases": agreements // 2,
        "customers": agreements // 2,
        "pending": max(3, agreements // 4000),
        "unmatched": max(3, agreements // 5000),
        "type": _TYPE,
        "transaction_type": _TRANSACTION_TYPE,
        "reference": _REFERENCE,
    }
    cursor.execute(
        "SET LOCAL max_parallel_workers_per_gather = 0; SET LOCAL work_mem = '256MB'; SELECT setseed(0.7)"
    )
    for step in _STEPS:
        cursor.execute(step.format(**numbers))


def fill(url: str, *, agreements: int) -> None:
    """Fill the empty, migrated database that the URL names, without checking foreign keys, and vacuum it.

    The role must be a superuser, for whom triggers, and so histories and foreign keys, can be switched off.
    """
    connection = psycopg2.connect(url)
    with connection, connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        fill_tables(cursor, agreements=agreements)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")
    connection.close()
