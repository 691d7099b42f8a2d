"""Django's settings, read from the environment and from a ``.env`` file beside manage.py.

Development needs nothing but a database, which the Fabric tasks provide. Staging and production
(``PERMA_PAYMENTS_ENV``) require every real value. ``.env.example`` lists all variables. The last line of this file
reports everything that is wrong with them.
"""

from datetime import time, timedelta
from pathlib import Path
from types import SimpleNamespace

from csp.constants import NONE, SELF
from pghistory import ContextJSONField

from . import cache, development, setting_parsers as parsers
from .cybersource.checkout import DEFAULT_PATHS, Profile
from .env import Env, choice
from .perma.box import PermaKeys
from .perma.messages import Freshness
from .postgres.url import database
from .sealed_archive import SealedArchive
from .setting_rules import CS_MODES, conflicts

BASE_DIR = Path(__file__).resolve().parent.parent

env = Env.of_process(BASE_DIR / ".env")

PERMA_PAYMENTS_ENV = env.environment
# Staging has CyberSource's test system, and everything else as in production.
IN_DEVELOPMENT = env.in_development

# --- Django -----------------------------------------------------------------------------------------

# Off in development, too, so developers see what customers would see.
DEBUG = env.read("DEBUG", parsers.FLAG, False)
SECRET_KEY = env.require("SECRET_KEY", parsers.SECRET_KEY, development.SECRET_KEY)
# They sign nothing, but what they have signed is accepted.
SECRET_KEY_FALLBACKS: list[str] = env.read("SECRET_KEY_FALLBACKS", parsers.SECRET_KEY_FALLBACKS, [])
ALLOWED_HOSTS = env.require("ALLOWED_HOSTS", parsers.HOSTS, development.ALLOWED_HOSTS)

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
    "perma_payments.views.probes.ProbesMiddleware",
    "perma_payments.views.probes.CountingMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "perma_payments.views.middleware.ProtectiveHeadersMiddleware",
    "perma_payments.views.middleware.PlainAnswersMiddleware",
    # Programs are led past the rest, up to the last one.
    "perma_payments.views.middleware.MachinesMiddleware",
    "csp.middleware.CSPMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "perma_payments.views.middleware.CarefulSessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django_otp.middleware.OTPMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "perma_payments.views.middleware.ViewsMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
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

DATABASES = {"default": env.require("DATABASE_URL", parsers.DATABASE, database(development.DATABASE_URL))}
# Where import_legacy reads from, and nothing else. Not in DATABASES, so that Django never writes to it.
LEGACY_DATABASE = env.read("LEGACY_DATABASE_URL", parsers.DATABASE, {})

# What views/limits.py counts: in a Redis that all processes share, or in the memory of each.
CACHES = {"default": env.read("CACHE_URL", parsers.CACHE, cache.OWN_MEMORY)}
RATELIMIT_FAIL_OPEN = True
SILENCED_SYSTEM_CHECKS = [
    # A memory that is not shared, and Django's own support for Redis, are what is wanted.
    "django_ratelimit.E003",
    "django_ratelimit.W001",
    # `check --deploy`: no redirect to HTTPS (see above); whether browsers preload the domain, its owner decides.
    "security.W008",
    "security.W021",
]

# Each row of the history holds who made the change and why, instead of referring to a row that many of them share:
# the rows of the history cannot be changed.
PGHISTORY_CONTEXT_FIELD = ContextJSONField()

STATIC_URL = "/static/"
# The help inside the admin shows the pictures of docs/staff.md.
STATICFILES_DIRS = [("staff-help", BASE_DIR / "docs" / "pictures")]
# Served from the source directories: so few files need no build step.
WHITENOISE_USE_FINDERS = True

# CyberSource's responses are about 5 kB long, Perma.cc's messages 1 kB.
DATA_UPLOAD_MAX_MEMORY_SIZE = 256 * 1024
DATA_UPLOAD_MAX_NUMBER_FIELDS = 500
# Only status reports are uploaded, one at a time. No file is ever written to the disk.
DATA_UPLOAD_MAX_NUMBER_FILES = 1
FILE_UPLOAD_HANDLERS = ["perma_payments.admin.uploads.ReportUpload"]

# --- Security ---------------------------------------------------------------------------------------

BEHIND_HTTPS_PROXY = env.read("BEHIND_HTTPS_PROXY", parsers.FLAG, False)
if BEHIND_HTTPS_PROXY:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
# How many proxies are in front. Each adds the address that it was called from to X-Forwarded-For.
TRUSTED_PROXIES = env.read(
    "TRUSTED_PROXIES", parsers.whole_number(int(BEHIND_HTTPS_PROXY), 10, "proxies", 1), int(BEHIND_HTTPS_PROXY)
)
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = not IN_DEVELOPMENT
# No script of ours reads it: the forms hold the token.
CSRF_COOKIE_HTTPONLY = True
if not IN_DEVELOPMENT:
    # Browsers accept these names only from this very host and over HTTPS, so no neighboring host can plant them.
    SESSION_COOKIE_NAME, CSRF_COOKIE_NAME = "__Host-sessionid", "__Host-csrftoken"
MESSAGE_STORAGE = "perma_payments.admin.notices.Notices"
SECURE_HSTS_SECONDS = 0 if IN_DEVELOPMENT else int(timedelta(days=365).total_seconds())
SECURE_HSTS_INCLUDE_SUBDOMAINS = True
SESSION_COOKIE_AGE = int(timedelta(days=1).total_seconds())
PASSWORD_RESET_TIMEOUT = int(timedelta(hours=2).total_seconds())
LOGIN_URL = "admin:login"
LOGIN_REDIRECT_URL = "admin:index"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]

# --- Perma.cc (perma.md) ----------------------------------------------------------------------------

PERMA_URL = env.require("PERMA_URL", parsers.BASE_URL, development.SANDBOX_URL)
PERMA_SUBSCRIPTION_PAGE = PERMA_URL + "/settings/subscription/"
# Where customers return after a checkout. The page above leads here, too, but drops the query.
PERMA_RETURN_PAGE = PERMA_URL + "/settings/usage-plan/"
CONTACT_EMAIL = env.require("CONTACT_EMAIL", parsers.EMAIL, "help@perma.example")
PERMA_PAYMENTS_SECRET_KEYS = env.require(
    "PERMA_PAYMENTS_SECRET_KEYS", parsers.SECRET_KEYS, development.PERMA_PAYMENTS_SECRET_KEYS
)
env.has_become(
    "PERMA_PAYMENTS_SECRET_KEY",
    "PERMA_PAYMENTS_SECRET_KEYS",
    "Write the same key there as id:key, with the day when it was made, or today's date, as its id",
)
PERMA_PUBLIC_KEYS = env.require("PERMA_PUBLIC_KEYS", parsers.PUBLIC_KEYS, development.PERMA_PUBLIC_KEYS)
PERMA_KEYS = PermaKeys(PERMA_PAYMENTS_SECRET_KEYS, PERMA_PUBLIC_KEYS)
_max_age = env.read(
    "BROWSER_MESSAGE_MAX_AGE_SECONDS", parsers.whole_number(60, 7 * 24 * 60 * 60, "seconds", 86400), 24 * 60 * 60
)
PERMA_FRESHNESS = Freshness(browser=timedelta(seconds=_max_age))
# Its two clients send the same message to /update/, and expect different things (perma.md §3.2).
UPDATE_LEADS_TO = env.read("UPDATE_LEADS_TO", choice("card", "page", example="page"), "card")

# --- CyberSource (cybersource.md) -------------------------------------------------------------------

CS_MODE = env.require(
    "CS_MODE", choice("sandbox", "test", "live", example=CS_MODES[PERMA_PAYMENTS_ENV]), "sandbox"
)
CS_SANDBOX_URL = env.read(
    "CS_SANDBOX_URL", parsers.BASE_URL.with_example(development.SANDBOX_URL), development.SANDBOX_URL
)
CS_BASE_URL = {
    "sandbox": CS_SANDBOX_URL,
    "test": "https://testsecureacceptance.cybersource.com",
    "live": "https://secureacceptance.cybersource.com",
}[CS_MODE]
CS_PATHS = env.read("CS_PATHS", parsers.paths(DEFAULT_PATHS), dict(DEFAULT_PATHS))
CS_PROFILE_ID = env.require("CS_PROFILE_ID", parsers.PROFILE_ID, development.CS_PROFILE_ID)
CS_KEYS = env.require("CS_KEYS", parsers.SIGNING_KEYS, development.CS_KEYS)
CS_PROFILE = Profile(profile_id=CS_PROFILE_ID, keys=CS_KEYS, base_url=CS_BASE_URL, paths=CS_PATHS)
# Nobody is sent to CyberSource. Staff have a switch of their own (services/freeze.py).
CHECKOUTS_FROZEN = env.read("CHECKOUTS_FROZEN", parsers.FLAG, False)

# --- Records ----------------------------------------------------------------------------------------

ARCHIVE_PUBLIC_KEY = env.require("ARCHIVE_PUBLIC_KEY", parsers.ARCHIVE_PUBLIC_KEY, development.ARCHIVE_PUBLIC_KEY)
SEALED_ARCHIVE = SealedArchive(*ARCHIVE_PUBLIC_KEY)
GRACE_PERIOD_DAYS = env.read("GRACE_PERIOD_DAYS", parsers.whole_number(0, 366, "days", 31), 31)

# --- Mail -------------------------------------------------------------------------------------------

# In development, the sandbox receives the mail and shows it.
EMAIL_HOST = env.require("EMAIL_HOST", parsers.MAIL_SERVER, "localhost")
EMAIL_USE_SSL = env.read("EMAIL_USE_SSL", parsers.FLAG, False)
EMAIL_USE_TLS = env.read("EMAIL_USE_TLS", parsers.FLAG, not (IN_DEVELOPMENT or EMAIL_USE_SSL))
EMAIL_PORT = env.read(
    "EMAIL_PORT",
    parsers.whole_number(1, 65535, "the mail server's port", 587),
    465 if EMAIL_USE_SSL else 8025 if IN_DEVELOPMENT else 587,
)
EMAIL_HOST_USER = env.read("EMAIL_HOST_USER", parsers.MAIL_USER, "")
EMAIL_HOST_PASSWORD = env.read("EMAIL_HOST_PASSWORD", parsers.MAIL_PASSWORD, "")
# Seconds for each step of a conversation with the mail server; emails.py limits the whole of it.
EMAIL_TIMEOUT = 20
MAIL_FROM = env.require("MAIL_FROM", parsers.EMAIL.with_example("payments@perma.cc"), "payments@perma.example")
MAIL_REPLY_TO = env.require("MAIL_REPLY_TO", parsers.EMAIL, "help@perma.example")
MAIL_SUBJECT_PREFIX = "[Perma Payments] "
STAFF_EMAILS = env.require("STAFF_EMAILS", parsers.EMAILS, ["staff@perma.example"])
DEVELOPER_EMAILS = env.require(
    "DEVELOPER_EMAILS", parsers.EMAILS.with_example("developers@perma.cc"), ["developers@perma.example"]
)
DAILY_REPORT_TIME = env.read("DAILY_REPORT_TIME", parsers.TIME_OF_DAY, time(9, 0))
OVERDUE_DAYS = env.read("OVERDUE_DAYS", parsers.whole_number(1, 60, "days", 3), 3)

# Where staff look up a customer.
PERMA_REGISTRAR_ADMIN_URL = env.read(
    "PERMA_REGISTRAR_ADMIN_URL", parsers.URL_WITH_PK, PERMA_URL + "/admin/perma/registrar/{pk}/change/"
)
PERMA_INDIVIDUAL_ADMIN_URL = env.read(
    "PERMA_INDIVIDUAL_ADMIN_URL", parsers.URL_WITH_PK, PERMA_URL + "/admin/perma/linkuser/{pk}/change/"
)
PAYMENTS_URL = env.require(
    "PAYMENTS_URL", parsers.BASE_URL.with_example("https://payments.example.org"), "http://localhost:8000"
)
# What staff's browsers send as the origin of their forms, whatever Host a proxy passes on.
CSRF_TRUSTED_ORIGINS = [parsers.origin_of(PAYMENTS_URL)]
CSRF_FAILURE_VIEW = "perma_payments.views.pages.csrf_failed"

# --- The admin --------------------------------------------------------------------------------------

ADMIN_ENABLED = env.read("ADMIN_ENABLED", parsers.FLAG, IN_DEVELOPMENT)
ADMIN_URL = env.read("ADMIN_URL", parsers.URL_PATH, "admin/")
REQUIRE_SECOND_FACTOR = env.read("REQUIRE_SECOND_FACTOR", parsers.FLAG, not IN_DEVELOPMENT)
OTP_TOTP_ISSUER = "Perma Payments"

# --- What browsers may load, and where forms may go -------------------------------------------------

CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "img-src": [SELF, "data:"],
        "object-src": [NONE],
        "base-uri": [NONE],
        "frame-ancestors": [NONE],
        # Browsers apply this to the redirects after a form, too, so it includes all of CyberSource's hosts.
        "form-action": [SELF, CS_BASE_URL, *(["https://*.cybersource.com"] if CS_MODE != "sandbox" else [])],
    }
}

# --- Logs -------------------------------------------------------------------------------------------

LOG_FORMAT = env.read("LOG_FORMAT", choice("json", "text", example="json"), "text" if IN_DEVELOPMENT else "json")
_FORMATTERS = {"json": "perma_payments.logs.JsonFormatter", "text": "perma_payments.logs.NoValuesFormatter"}
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {"()": _FORMATTERS[LOG_FORMAT], "format": "{asctime} {levelname} {name}: {message}", "style": "{"}
    },
    "handlers": {
        "console": {
            "class": "perma_payments.logs.Console",
            "formatter": "line",
            "filters": ["djangos_lines", "gunicorns_lines", "few_refusals"],
        }
    },
    "root": {
        "handlers": ["console"],
        "level": env.read("LOG_LEVEL", choice("DEBUG", "INFO", "WARNING", "ERROR", example="INFO"), "INFO"),
    },
    "filters": {
        "djangos_lines": {"()": "perma_payments.request_log.DjangosLines"},
        "gunicorns_lines": {"()": "perma_payments.logs.GunicornsLines"},
        "few_refusals": {"()": "perma_payments.logs.FewRefusals"},
    },
    "loggers": {
        # Django's own handlers would mail error reports, which hold what was posted.
        "django": {"handlers": [], "level": "INFO", "propagate": True},
        "django.request": {"filters": ["djangos_lines"]},
        # In its workers. Its master, which knows no settings, has gunicorn_logs.py.
        "gunicorn.error": {"handlers": [], "level": "INFO", "propagate": True},
        # It would say twice a minute that a job has run.
        "apscheduler": {"level": "WARNING"},
    },
}
# Where errors are reported besides the mails to DEVELOPER_EMAILS (error_mails.py, sentry.py).
SENTRY_DSN = env.read("SENTRY_DSN", parsers.SENTRY_DSN, "")
DEFAULT_EXCEPTION_REPORTER_FILTER = "perma_payments.logs.NoValuesFilter"

# --- Monitoring -------------------------------------------------------------------------------------

# Without a token, nothing is counted and /metrics/ does not exist.
METRICS_TOKEN = env.read("METRICS_TOKEN", parsers.TOKEN, "")
METRICS_DIR = env.read("METRICS_DIR", parsers.DIRECTORY, "")
SCHEDULER_PING_URL = env.read("SCHEDULER_PING_URL", parsers.PING_URL, "")

# --- What does not go together ----------------------------------------------------------------------

env.end_if_wrong(conflicts(SimpleNamespace(**globals())))
