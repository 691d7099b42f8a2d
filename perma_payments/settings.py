"""Django's settings, read from the environment and from a ``.env`` file beside manage.py.

Development works with nothing set but a database (the Fabric tasks see to that). With
``PERMA_PAYMENTS_ENV=production`` every real value is demanded. ``.env.example`` lists all variables.
"""
import os
from datetime import time, timedelta
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import dj_database_url
import psycopg2.extensions
from csp.constants import NONE, SELF
from dotenv import load_dotenv
from pghistory import ContextJSONField

from . import development
from .cybersource.checkout import DEFAULT_PATHS
from .cybersource.signature import SigningKeys
from .env import BadSetting, Env, origin_of
from .perma.messages import Freshness

T = TypeVar("T")

BASE_DIR = Path(__file__).resolve().parent.parent

try:
    load_dotenv(BASE_DIR / ".env")
except (OSError, ValueError):
    raise BadSetting("The file .env cannot be read: expected UTF-8 text, a NAME=value on each line") from None
env = Env(os.environ)

PERMA_PAYMENTS_ENV = env.choice("PERMA_PAYMENTS_ENV", "development", among=("development", "production"))
IN_PRODUCTION = PERMA_PAYMENTS_ENV == "production"


def in_development(value: T) -> T | None:
    """A default that development has and production must be given."""
    return None if IN_PRODUCTION else value


# --- Django -----------------------------------------------------------------------------------------

# Off in development too: what a developer sees is what a customer would see.
DEBUG = env.flag("DEBUG", False)
SECRET_KEY = env.text(
    "SECRET_KEY", in_development(development.SECRET_KEY),
    expected="at least 50 random characters, as manage.py generate_keys makes them", example="x7Q…(50 or more)…k2",
)
ALLOWED_HOSTS = env.hosts("ALLOWED_HOSTS", in_development(development.ALLOWED_HOSTS))

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
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django_otp.middleware.OTPMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
TEMPLATES = [{
    "BACKEND": "django.template.backends.django.DjangoTemplates",
    "DIRS": [BASE_DIR / "perma_payments" / "templates"],
    "APP_DIRS": True,
    "OPTIONS": {"context_processors": [
        "django.template.context_processors.request",
        "django.contrib.auth.context_processors.auth",
        "django.contrib.messages.context_processors.messages",
    ]},
}]
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
    if urlsplit(url).scheme not in ("postgres", "postgresql"):
        raise ValueError
    config: dict[str, Any] = {**dj_database_url.parse(url, conn_max_age=600, conn_health_checks=True)}
    # CyberSource waits 10 seconds for its answer: a lock that is not had by then is not waited for.
    options = config.get("OPTIONS", {})
    config["OPTIONS"] = {
        "connect_timeout": 5, **options, "options": f"-c lock_timeout=5000 {options.get('options', '')}".strip(),
    }
    try:
        psycopg2.extensions.make_dsn(**config["OPTIONS"])
    except psycopg2.ProgrammingError:
        raise ValueError from None
    return config


DATABASES = {"default": env.read(
    "DATABASE_URL", database, default=in_development(database(development.DATABASE_URL)),
    expected="the address of a PostgreSQL database",
    example="postgres://perma_payments:password@localhost:5432/perma_payments",
)}

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

BEHIND_HTTPS_PROXY = env.flag("BEHIND_HTTPS_PROXY", False)
if BEHIND_HTTPS_PROXY:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
# How many proxies are in front, each of which adds to X-Forwarded-For the address that it was called from.
TRUSTED_PROXIES = env.whole_number(
    "TRUSTED_PROXIES", int(BEHIND_HTTPS_PROXY), least=int(BEHIND_HTTPS_PROXY), most=10, unit="proxies"
)
SESSION_COOKIE_SECURE = IN_PRODUCTION
CSRF_COOKIE_SECURE = IN_PRODUCTION
SECURE_HSTS_SECONDS = int(timedelta(days=365).total_seconds()) if IN_PRODUCTION else 0
SESSION_COOKIE_AGE = int(timedelta(days=1).total_seconds())
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]

# --- Perma.cc (perma.md) ----------------------------------------------------------------------------

PERMA_URL = env.base_url("PERMA_URL", in_development(development.SANDBOX_URL), example="https://perma.cc")
PERMA_SUBSCRIPTION_PAGE = PERMA_URL + "/settings/subscription/"
# Where customers come back to from a checkout. The page above leads here, too, but drops the query.
PERMA_RETURN_PAGE = PERMA_URL + "/settings/usage-plan/"
CONTACT_EMAIL = env.email("CONTACT_EMAIL", in_development("help@perma.example"), example="info@perma.cc")
PERMA_PAYMENTS_SECRET_KEY = env.key(
    "PERMA_PAYMENTS_SECRET_KEY", in_development(development.PERMA_PAYMENTS_SECRET_KEY)
)
PERMA_PUBLIC_KEYS = env.named_keys("PERMA_PUBLIC_KEYS", in_development(development.PERMA_PUBLIC_KEYS))
PERMA_FRESHNESS = Freshness(
    browser=timedelta(seconds=env.whole_number(
        "BROWSER_MESSAGE_MAX_AGE_SECONDS", 24 * 60 * 60, least=60, most=7 * 24 * 60 * 60, unit="seconds"
    )),
)

# --- CyberSource (cybersource.md) -------------------------------------------------------------------

CS_MODE = env.choice("CS_MODE", in_development("sandbox"), among=("sandbox", "test", "live"))
CS_BASE_URL = {
    "sandbox": env.base_url("CS_SANDBOX_URL", development.SANDBOX_URL, example=development.SANDBOX_URL),
    "test": "https://testsecureacceptance.cybersource.com",
    "live": "https://secureacceptance.cybersource.com",
}[CS_MODE]
CS_PATHS = env.paths("CS_PATHS", DEFAULT_PATHS)
CS_PROFILE_ID = env.profile_id("CS_PROFILE_ID", in_development(development.CS_PROFILE_ID))
CS_KEYS = SigningKeys(*env.signing_keys("CS_KEYS", in_development(development.CS_KEYS)))

# --- The ledger -------------------------------------------------------------------------------------

VAULT_PUBLIC_KEY = env.named_key("VAULT_PUBLIC_KEY", in_development(development.VAULT_PUBLIC_KEY))
GRACE_PERIOD_DAYS = env.whole_number("GRACE_PERIOD_DAYS", 31, least=0, most=366, unit="days")

# --- Mail -------------------------------------------------------------------------------------------

# The sandbox receives development's mail, and shows it.
EMAIL_HOST = env.text(
    "EMAIL_HOST", in_development("localhost"), expected="the name of the mail server", example="smtp.example.org"
)
EMAIL_PORT = env.whole_number(
    "EMAIL_PORT", 587 if IN_PRODUCTION else 8025, least=1, most=65535, unit="the mail server's port"
)
EMAIL_USE_TLS = env.flag("EMAIL_USE_TLS", IN_PRODUCTION)
EMAIL_HOST_USER = env.text("EMAIL_HOST_USER", "", expected="a user of the mail server", example="perma-payments")
EMAIL_HOST_PASSWORD = env.text(
    "EMAIL_HOST_PASSWORD", "", expected="that user's password", example="(the password)"
)
# For each step of a conversation with the mail server, in seconds (emails.py has a limit for all of it).
EMAIL_TIMEOUT = 20
MAIL_FROM = env.email("MAIL_FROM", in_development("payments@perma.example"), example="payments@perma.cc")
MAIL_REPLY_TO = env.email("MAIL_REPLY_TO", in_development("help@perma.example"), example="info@perma.cc")
MAIL_SUBJECT_PREFIX = "[Perma Payments] "
STAFF_EMAILS = env.emails("STAFF_EMAILS", in_development(["staff@perma.example"]), example="info@perma.cc")
DEVELOPER_EMAILS = env.emails(
    "DEVELOPER_EMAILS", in_development(["developers@perma.example"]), example="developers@perma.cc"
)
DAILY_REPORT_TIME = env.time_of_day("DAILY_REPORT_TIME", time(9, 0))
OVERDUE_DAYS = env.whole_number("OVERDUE_DAYS", 3, least=1, most=60, unit="days")

# Where staff look a customer up.
PERMA_REGISTRAR_ADMIN_URL = env.url_with_pk(
    "PERMA_REGISTRAR_ADMIN_URL", PERMA_URL + "/admin/perma/registrar/{pk}/change/"
)
PERMA_INDIVIDUAL_ADMIN_URL = env.url_with_pk(
    "PERMA_INDIVIDUAL_ADMIN_URL", PERMA_URL + "/admin/perma/linkuser/{pk}/change/"
)
PAYMENTS_URL = env.base_url(
    "PAYMENTS_URL", in_development("http://localhost:8000"), example="https://payments.example.org"
)
# Staff's browsers name it as the origin of their forms, whatever Host a proxy passes on.
CSRF_TRUSTED_ORIGINS = [origin_of(PAYMENTS_URL)]
CSRF_FAILURE_VIEW = "perma_payments.views.pages.csrf_failed"

# --- The staff's side -------------------------------------------------------------------------------

ADMIN_ENABLED = env.flag("ADMIN_ENABLED", not IN_PRODUCTION)
ADMIN_URL = env.url_path("ADMIN_URL", "admin/")
REQUIRE_SECOND_FACTOR = env.flag("REQUIRE_SECOND_FACTOR", IN_PRODUCTION)
OTP_TOTP_ISSUER = "Perma Payments"
# manage.py add_second_factor shows a secret, once; the admin never does.
OTP_ADMIN_HIDE_SENSITIVE_DATA = True

# --- What browsers may load, and where forms may go -------------------------------------------------

CONTENT_SECURITY_POLICY = {"DIRECTIVES": {
    "default-src": [SELF],
    "img-src": [SELF, "data:"],
    "object-src": [NONE],
    "base-uri": [NONE],
    "frame-ancestors": [NONE],
    # Browsers apply this to the redirects behind a form, too: so all of CyberSource's hosts.
    "form-action": [SELF, CS_BASE_URL, *(["https://*.cybersource.com"] if CS_MODE != "sandbox" else [])],
}}

# --- Logs -------------------------------------------------------------------------------------------

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"plain": {
        "()": "perma_payments.logs.NoValuesFormatter",
        "format": "{asctime} {levelname} {name}: {message}",
        "style": "{",
    }},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "plain"}},
    "root": {"handlers": ["console"], "level": env.choice(
        "LOG_LEVEL", "INFO", among=("DEBUG", "INFO", "WARNING", "ERROR")
    )},
    "filters": {"said_already": {"()": "perma_payments.logs.SaidAlready"}},
    # Django's own handlers would mail error reports, which hold what was posted.
    "loggers": {
        "django": {"handlers": [], "level": "INFO", "propagate": True},
        "django.request": {"filters": ["said_already"]},
    },
}
DEFAULT_EXCEPTION_REPORTER_FILTER = "perma_payments.logs.NoValuesFilter"
