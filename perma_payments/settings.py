"""Django's settings, read from the environment and from a ``.env`` file beside manage.py.

Development works with nothing set but a database (the Fabric tasks see to that). Staging and production
(``PERMA_PAYMENTS_ENV``) demand every real value. ``.env.example`` lists all variables. Whatever is wrong is told
at once, by the last lines of this file.
"""

import re
from datetime import time, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import dj_database_url
import psycopg2.extensions
from csp.constants import NONE, SELF
from pghistory import ContextJSONField

from . import development, setting_kinds as kinds
from .cybersource.checkout import DEFAULT_PATHS
from .cybersource.signature import SigningKeys
from .env import Env, Kind, Unfit
from .perma.messages import Freshness
from .setting_rules import CS_MODES, refuse_what_does_not_fit

BASE_DIR = Path(__file__).resolve().parent.parent

env = Env.of_process(BASE_DIR / ".env")

PERMA_PAYMENTS_ENV = env.environment
# Staging has CyberSource's test system, and everything else as in production.
IN_DEVELOPMENT = env.in_development

# --- Django -----------------------------------------------------------------------------------------

# Off in development too: what a developer sees is what a customer would see.
DEBUG = env.read("DEBUG", kinds.FLAG, False)
SECRET_KEY = env.demand(
    "SECRET_KEY",
    kinds.text("at least 50 random characters, as manage.py generate_keys makes them", "x7Q…(50 or more)…k2"),
    development.SECRET_KEY,
)
ALLOWED_HOSTS = env.demand("ALLOWED_HOSTS", kinds.HOSTS, development.ALLOWED_HOSTS)

ROOT_URLCONF = "perma_payments.urls"
WSGI_APPLICATION = "perma_payments.wsgi.application"
INSTALLED_APPS = [
    "perma_payments",
    "perma_payments.apps.StaffAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.humanize",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django_otp",
    "django_otp.plugins.otp_static",
    "django_otp.plugins.otp_totp",
    "django_ratelimit",
    "pghistory",
    "pgtrigger",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "csp.middleware.CSPMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "perma_payments.views.middleware.PlainAnswersMiddleware",
    "perma_payments.views.middleware.CarefulSessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django_otp.middleware.OTPMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "perma_payments" / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
TIME_ZONE = "UTC"
USE_I18N = False
FORMAT_MODULE_PATH = "perma_payments.formats"
LANGUAGE_CODE = "en-us"

# A redirect would turn Perma.cc's and CyberSource's POSTs into GETs and lose them.
APPEND_SLASH = False
SECURE_SSL_REDIRECT = False


def database(url: str) -> dict[str, Any]:
    """Django's settings for a DATABASE_URL. Raises ValueError for anything but PostgreSQL's."""
    if "#" in url:
        raise Unfit("contains an unescaped #")
    # A password with one of these unescaped shifts the parts behind it, or says something else than it seems to.
    if re.search(r"%(?![0-9A-Fa-f]{2})|%00", url) or not re.fullmatch(
        r"postgres(ql)?://([^/?@]*@)?[^/?@]*(/[^/?@]*)?(\?.*)?", url
    ):
        raise ValueError
    parts = urlsplit(url)
    if parts.path in ("", "/"):
        raise Unfit("names no database")
    if parts.port == 0 or len(parts.path) > 64:  # A slash, and PostgreSQL's 63 bytes.
        raise ValueError
    parse_qsl(parts.query, strict_parsing=bool(parts.query))
    config: dict[str, Any] = {
        **dj_database_url.parse(url, conn_max_age=600, conn_health_checks=True),
        "ENGINE": "perma_payments.postgres",
        # A pooler such as PgBouncer may give each transaction another connection.
        "DISABLE_SERVER_SIDE_CURSORS": True,
    }
    # Connections that wait to be used, whose other end is gone; those in use have time limits (postgres/base.py).
    config["OPTIONS"] = {
        "keepalives_idle": 30,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": 10_000,
        **config.get("OPTIONS", {}),
    }
    float(config["OPTIONS"].get("connect_timeout", 0))
    try:
        psycopg2.extensions.make_dsn(**config["OPTIONS"])
    except psycopg2.ProgrammingError:
        raise ValueError from None
    return config


database_url = Kind(
    database,
    "the address of a PostgreSQL database, with any of #, ?, /, @ and % in its password written as %23, %3F, %2F, "
    "%40 and %25",
    "postgres://perma_payments:password@localhost:5432/perma_payments",
)
DATABASES = {"default": env.demand("DATABASE_URL", database_url, database(development.DATABASE_URL))}

# Refused callbacks are counted per process, only so that their warnings do not flood the log.
CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
SILENCED_SYSTEM_CHECKS = ["django_ratelimit.E003", "django_ratelimit.W001"]

# Who changed the ledger and why stands in the history's own rows, which cannot be changed, and not in a row that
# many of them share and each of them would write again.
PGHISTORY_CONTEXT_FIELD = ContextJSONField()

STATIC_URL = "/static/"
# Served from where they lie: a handful of files need no build step.
WHITENOISE_USE_FINDERS = True

# A response of CyberSource's has some 5 kB, a message of Perma.cc's one.
DATA_UPLOAD_MAX_MEMORY_SIZE = 256 * 1024
DATA_UPLOAD_MAX_NUMBER_FIELDS = 500

# --- Security ---------------------------------------------------------------------------------------

BEHIND_HTTPS_PROXY = env.read("BEHIND_HTTPS_PROXY", kinds.FLAG, False)
if BEHIND_HTTPS_PROXY:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
# How many proxies are in front, each of which adds to X-Forwarded-For the address that it was called from.
TRUSTED_PROXIES = env.read(
    "TRUSTED_PROXIES", kinds.whole_number(int(BEHIND_HTTPS_PROXY), 10, "proxies", 1), int(BEHIND_HTTPS_PROXY)
)
SESSION_COOKIE_SECURE = not IN_DEVELOPMENT
CSRF_COOKIE_SECURE = not IN_DEVELOPMENT
SECURE_HSTS_SECONDS = 0 if IN_DEVELOPMENT else int(timedelta(days=365).total_seconds())
SESSION_COOKIE_AGE = int(timedelta(days=1).total_seconds())
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]

# --- Perma.cc (perma.md) ----------------------------------------------------------------------------

PERMA_URL = env.demand("PERMA_URL", kinds.base_url("https://perma.cc"), development.SANDBOX_URL)
PERMA_SUBSCRIPTION_PAGE = PERMA_URL + "/settings/subscription/"
# Where customers come back to from a checkout. The page above leads here, too, but drops the query.
PERMA_RETURN_PAGE = PERMA_URL + "/settings/usage-plan/"
CONTACT_EMAIL = env.demand("CONTACT_EMAIL", kinds.email("info@perma.cc"), "help@perma.example")
PERMA_PAYMENTS_SECRET_KEY = env.demand(
    "PERMA_PAYMENTS_SECRET_KEY", kinds.SECRET_HALF, development.PERMA_PAYMENTS_SECRET_KEY
)
PERMA_PUBLIC_KEYS = env.demand("PERMA_PUBLIC_KEYS", kinds.PUBLIC_KEYS, development.PERMA_PUBLIC_KEYS)
PERMA_FRESHNESS = Freshness(
    browser=timedelta(
        seconds=env.read(
            "BROWSER_MESSAGE_MAX_AGE_SECONDS",
            kinds.whole_number(60, 7 * 24 * 60 * 60, "seconds", 86400),
            24 * 60 * 60,
        )
    )
)

# --- CyberSource (cybersource.md) -------------------------------------------------------------------

CS_MODE = env.demand(
    "CS_MODE", kinds.choice("sandbox", "test", "live", example=CS_MODES[PERMA_PAYMENTS_ENV]), "sandbox"
)
CS_SANDBOX_URL = env.read("CS_SANDBOX_URL", kinds.base_url(development.SANDBOX_URL), development.SANDBOX_URL)
CS_BASE_URL = {
    "sandbox": CS_SANDBOX_URL,
    "test": "https://testsecureacceptance.cybersource.com",
    "live": "https://secureacceptance.cybersource.com",
}[CS_MODE]
CS_PATHS = env.read("CS_PATHS", kinds.paths(DEFAULT_PATHS), dict(DEFAULT_PATHS))
CS_PROFILE_ID = env.demand("CS_PROFILE_ID", kinds.PROFILE_ID, development.CS_PROFILE_ID)
CS_KEYS = SigningKeys(*env.demand("CS_KEYS", kinds.SIGNING_KEYS, development.CS_KEYS))

# --- The ledger -------------------------------------------------------------------------------------

ARCHIVE_PUBLIC_KEY = env.demand("ARCHIVE_PUBLIC_KEY", kinds.PUBLIC_KEY, development.ARCHIVE_PUBLIC_KEY)
GRACE_PERIOD_DAYS = env.read("GRACE_PERIOD_DAYS", kinds.whole_number(0, 366, "days", 31), 31)

# --- Mail -------------------------------------------------------------------------------------------

# The sandbox receives development's mail, and shows it.
EMAIL_HOST = env.demand("EMAIL_HOST", kinds.MAIL_SERVER, "localhost")
EMAIL_USE_SSL = env.read("EMAIL_USE_SSL", kinds.FLAG, False)
EMAIL_USE_TLS = env.read("EMAIL_USE_TLS", kinds.FLAG, not (IN_DEVELOPMENT or EMAIL_USE_SSL))
EMAIL_PORT = env.read(
    "EMAIL_PORT",
    kinds.whole_number(1, 65535, "the mail server's port", 587),
    465 if EMAIL_USE_SSL else 8025 if IN_DEVELOPMENT else 587,
)
EMAIL_HOST_USER = env.read("EMAIL_HOST_USER", kinds.text("a user of the mail server", "perma-payments"), "")
EMAIL_HOST_PASSWORD = env.read("EMAIL_HOST_PASSWORD", kinds.text("that user's password", "(the password)"), "")
# For each step of a conversation with the mail server, in seconds (emails.py has a limit for all of it).
EMAIL_TIMEOUT = 20
MAIL_FROM = env.demand("MAIL_FROM", kinds.email("payments@perma.cc"), "payments@perma.example")
MAIL_REPLY_TO = env.demand("MAIL_REPLY_TO", kinds.email("info@perma.cc"), "help@perma.example")
MAIL_SUBJECT_PREFIX = "[Perma Payments] "
STAFF_EMAILS = env.demand("STAFF_EMAILS", kinds.emails("info@perma.cc"), ["staff@perma.example"])
DEVELOPER_EMAILS = env.demand(
    "DEVELOPER_EMAILS", kinds.emails("developers@perma.cc"), ["developers@perma.example"]
)
DAILY_REPORT_TIME = env.read("DAILY_REPORT_TIME", kinds.TIME_OF_DAY, time(9, 0))
OVERDUE_DAYS = env.read("OVERDUE_DAYS", kinds.whole_number(1, 60, "days", 3), 3)

# Where staff look a customer up.
PERMA_REGISTRAR_ADMIN_URL = env.read(
    "PERMA_REGISTRAR_ADMIN_URL", kinds.URL_WITH_PK, PERMA_URL + "/admin/perma/registrar/{pk}/change/"
)
PERMA_INDIVIDUAL_ADMIN_URL = env.read(
    "PERMA_INDIVIDUAL_ADMIN_URL", kinds.URL_WITH_PK, PERMA_URL + "/admin/perma/linkuser/{pk}/change/"
)
PAYMENTS_URL = env.demand("PAYMENTS_URL", kinds.base_url("https://payments.example.org"), "http://localhost:8000")
# Staff's browsers name it as the origin of their forms, whatever Host a proxy passes on.
CSRF_TRUSTED_ORIGINS = [kinds.origin_of(PAYMENTS_URL)]
CSRF_FAILURE_VIEW = "perma_payments.views.pages.csrf_failed"

# --- The staff's side -------------------------------------------------------------------------------

ADMIN_ENABLED = env.read("ADMIN_ENABLED", kinds.FLAG, IN_DEVELOPMENT)
ADMIN_URL = env.read("ADMIN_URL", kinds.URL_PATH, "admin/")
REQUIRE_SECOND_FACTOR = env.read("REQUIRE_SECOND_FACTOR", kinds.FLAG, not IN_DEVELOPMENT)
OTP_TOTP_ISSUER = "Perma Payments"
# manage.py add_second_factor shows a secret, once; the admin never does.
OTP_ADMIN_HIDE_SENSITIVE_DATA = True

# --- What browsers may load, and where forms may go -------------------------------------------------

CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "img-src": [SELF, "data:"],
        "object-src": [NONE],
        "base-uri": [NONE],
        "frame-ancestors": [NONE],
        # Browsers apply this to the redirects behind a form, too: so all of CyberSource's hosts.
        "form-action": [SELF, CS_BASE_URL, *(["https://*.cybersource.com"] if CS_MODE != "sandbox" else [])],
    }
}

# --- Logs -------------------------------------------------------------------------------------------

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "plain": {
            "()": "perma_payments.logs.NoValuesFormatter",
            "format": "{asctime} {levelname} {name}: {message}",
            "style": "{",
        }
    },
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "plain"}},
    "root": {
        "handlers": ["console"],
        "level": env.read("LOG_LEVEL", kinds.choice("DEBUG", "INFO", "WARNING", "ERROR", example="INFO"), "INFO"),
    },
    "filters": {"said_already": {"()": "perma_payments.logs.SaidAlready"}},
    # Django's own handlers would mail error reports, which hold what was posted.
    "loggers": {
        "django": {"handlers": [], "level": "INFO", "propagate": True},
        "django.request": {"filters": ["said_already"]},
    },
}
DEFAULT_EXCEPTION_REPORTER_FILTER = "perma_payments.logs.NoValuesFilter"

# --- What must not be -------------------------------------------------------------------------------

refuse_what_does_not_fit(env, SimpleNamespace(**globals()))
env.end_if_wrong()
