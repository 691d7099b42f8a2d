-- The tables of the old service, as far as they matter here: names, types, and what may be null.
CREATE TABLE auth_user (
    id serial PRIMARY KEY, password varchar(128) NOT NULL, last_login timestamptz, is_superuser boolean NOT NULL,
    username varchar(150) NOT NULL, first_name varchar(150) NOT NULL, last_name varchar(150) NOT NULL,
    email varchar(254) NOT NULL, is_staff boolean NOT NULL, is_active boolean NOT NULL, date_joined timestamptz NOT NULL
);
CREATE TABLE perma_payments_subscriptionagreement (
    id serial PRIMARY KEY, customer_pk integer NOT NULL, customer_type varchar(20) NOT NULL, status varchar(20) NOT NULL,
    cancellation_requested boolean NOT NULL, created_date timestamptz NOT NULL, updated_date timestamptz NOT NULL,
    paid_through timestamptz, current_frequency varchar(20), current_link_limit varchar(20), current_rate numeric,
    current_link_limit_effective_timestamp timestamptz
);
CREATE TABLE perma_payments_historicalsubscriptionagreement (
    history_id serial PRIMARY KEY, history_date timestamptz NOT NULL, history_type varchar(1) NOT NULL,
    history_change_reason varchar(100), history_user_id integer,
    id integer NOT NULL, customer_pk integer NOT NULL, customer_type varchar(20) NOT NULL, status varchar(20) NOT NULL,
    cancellation_requested boolean NOT NULL, created_date timestamptz NOT NULL, updated_date timestamptz NOT NULL,
    paid_through timestamptz, current_frequency varchar(20), current_link_limit varchar(20), current_rate numeric,
    current_link_limit_effective_timestamp timestamptz
);
CREATE INDEX ON perma_payments_historicalsubscriptionagreement (id);
CREATE TABLE perma_payments_outgoingtransaction (
    id serial PRIMARY KEY, transaction_uuid uuid NOT NULL, request_datetime timestamptz NOT NULL,
    polymorphic_ctype_id integer
);
CREATE TABLE perma_payments_subscriptionrequest (
    outgoingtransaction_ptr_id integer PRIMARY KEY, reference_number varchar(32) NOT NULL, amount numeric NOT NULL,
    recurring_amount numeric NOT NULL, recurring_frequency varchar(20) NOT NULL, recurring_start_date date NOT NULL,
    currency varchar(3) NOT NULL, locale varchar(5) NOT NULL, payment_method varchar(30) NOT NULL,
    transaction_type varchar(30) NOT NULL, link_limit varchar(20) NOT NULL,
    link_limit_effective_timestamp timestamptz NOT NULL, subscription_agreement_id integer NOT NULL UNIQUE
);
CREATE TABLE perma_payments_changerequest (
    outgoingtransaction_ptr_id integer PRIMARY KEY, amount numeric NOT NULL, recurring_amount numeric NOT NULL,
    link_limit varchar(20) NOT NULL, link_limit_effective_timestamp timestamptz NOT NULL,
    transaction_type varchar(30) NOT NULL, subscription_agreement_id integer NOT NULL
);
CREATE INDEX ON perma_payments_changerequest (subscription_agreement_id);
CREATE TABLE perma_payments_updaterequest (
    outgoingtransaction_ptr_id integer PRIMARY KEY, transaction_type varchar(30) NOT NULL,
    subscription_agreement_id integer NOT NULL
);
CREATE INDEX ON perma_payments_updaterequest (subscription_agreement_id);
CREATE TABLE perma_payments_purchaserequest (
    outgoingtransaction_ptr_id integer PRIMARY KEY, customer_pk integer NOT NULL, customer_type varchar(20) NOT NULL,
    created_date timestamptz NOT NULL, amount numeric NOT NULL, link_quantity integer NOT NULL,
    reference_number varchar(32) NOT NULL, transaction_type varchar(30) NOT NULL
);
CREATE TABLE perma_payments_response (
    id serial PRIMARY KEY, decision varchar(7), reason_code integer, message text, full_response bytea NOT NULL,
    encryption_key_id integer NOT NULL, polymorphic_ctype_id integer
);
CREATE TABLE perma_payments_subscriptionrequestresponse (
    response_ptr_id integer PRIMARY KEY, related_request_id integer NOT NULL UNIQUE, payment_token varchar(26) NOT NULL
);
CREATE TABLE perma_payments_changerequestresponse (
    response_ptr_id integer PRIMARY KEY, related_request_id integer NOT NULL UNIQUE
);
CREATE TABLE perma_payments_updaterequestresponse (
    response_ptr_id integer PRIMARY KEY, related_request_id integer NOT NULL UNIQUE
);
CREATE TABLE perma_payments_purchaserequestresponse (
    response_ptr_id integer PRIMARY KEY, related_request_id integer NOT NULL UNIQUE, inform_perma boolean NOT NULL,
    perma_acknowledged_at timestamptz
);
