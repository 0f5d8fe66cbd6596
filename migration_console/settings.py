"""Django's settings, driven by the environment (env.py)."""

import os
from datetime import timedelta
from pathlib import Path
from typing import Any

from csp.constants import NONE, SELF, UNSAFE_EVAL, UNSAFE_INLINE
from django.templatetags.static import static

from .broker import CONNECT_SECONDS, QUEUE, has_remote_control, tls, transport_options
from .env import ROOT, database, read_env
from .navigation import NAVIGATION

ENV = read_env()
BASE_DIR = ROOT
VAR = ENV.var_folder
# What AWS's containers and other SDKs set; boto3 reads only the other name.
if "AWS_REGION" in os.environ:
    os.environ.setdefault("AWS_DEFAULT_REGION", os.environ["AWS_REGION"])

SECRET_KEY = ENV.secret_key
DEBUG = ENV.debug
ALLOWED_HOSTS = ENV.allowed_hosts
CSRF_TRUSTED_ORIGINS = ENV.csrf_trusted_origins

INSTALLED_APPS = [
    "unfold",
    "unfold.contrib.filters",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "axes",
    "csp",
    "django_celery_beat",
    "django_filters",
    "rest_framework",
    "knox",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "migration_console",
    "ingest",
    "backups",
]
MIDDLEWARE = [
    "csp.middleware.CSPMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "migration_console.away.Away",
    "axes.middleware.AxesMiddleware",
]
ROOT_URLCONF = "migration_console.urls"
WSGI_APPLICATION = "migration_console.wsgi.application"
TEMPLATES: list[dict[str, Any]] = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        # Before the applications' own: our dashboard, not unfold's.
        "DIRS": [ROOT / "migration_console" / "templates"],
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

DATABASES = {"default": database(ENV.database_url)}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    Path(DATABASES["default"]["NAME"]).parent.mkdir(parents=True, exist_ok=True)

# Shared by all processes of a machine: the throttles count there. In the database each request would wait for a
# commit, which takes longer than judging a thousand rows.
CACHES = {"default": {"BACKEND": "django.core.cache.backends.filebased.FileBasedCache", "LOCATION": VAR / "cache"}}

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "migration_console.signing.RecordedPassword", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en-us"
STATIC_URL = "static/"
STATIC_ROOT = VAR / "static"
STATIC_ROOT.mkdir(parents=True, exist_ok=True)
# Served from the packages themselves: no collectstatic step to forget.
WHITENOISE_USE_FINDERS = True

SESSION_COOKIE_HTTPONLY = True
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT = ENV.https
# Load balancers ask by http.
SECURE_REDIRECT_EXEMPT = [r"^health/?$"]
SECURE_HSTS_SECONDS = 365 * 24 * 3600 if ENV.https else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = ENV.https
PROXIES = ENV.proxies
if PROXIES:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
# Where the way in leads when nobody was on the way to some page.
LOGIN_URL, LOGIN_REDIRECT_URL = "admin:login", "admin:index"
# A link for a first password is good for so long.
PASSWORD_RESET_TIMEOUT = 3 * 24 * 3600

# Whatever a page shows, it runs and fetches nothing but what comes from here.
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        # Alpine, which unfold's pages are made with, evaluates expressions.
        "script-src": [SELF, UNSAFE_EVAL],
        # Widths of bars, and the variables with unfold's colours.
        "style-src": [SELF, UNSAFE_INLINE],
        "img-src": [SELF, "data:"],
        "object-src": [NONE],
        "base-uri": [NONE],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
    }
}

# Axes looks before a password is tried; requests with tokens never come here.
AUTHENTICATION_BACKENDS = ["axes.backends.AxesStandaloneBackend", "django.contrib.auth.backends.ModelBackend"]
# Five wrong passwords for one name from one address: neither can one shut others out, nor try on.
AXES_FAILURE_LIMIT = 5
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_COOLOFF_TIME = timedelta(minutes=15)
AXES_RESET_ON_SUCCESS = True
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False
AXES_LOCKOUT_TEMPLATE = "console/locked_out.html"
AXES_CLIENT_IP_CALLABLE = "migration_console.signing.address_of"
# Who signed in stands in the audit log; axes keeps the failures that it counts.
AXES_DISABLE_ACCESS_LOG = True
AXES_ENABLE_ADMIN = AXES_VERBOSE = False

REST_FRAMEWORK: dict[str, Any] = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["migration_console.api.TokenAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["migration_console.api.Allowed"],
    "DEFAULT_PARSER_CLASSES": ["migration_console.api.StrictJSONParser"],
    "DEFAULT_RENDERER_CLASSES": ["migration_console.api.FastJSONRenderer"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "migration_console.api.AnyAccept",
    "DEFAULT_FILTER_BACKENDS": ["django_filters.rest_framework.DjangoFilterBackend"],
    "DEFAULT_SCHEMA_CLASS": "migration_console.openapi.Described",
    "DEFAULT_THROTTLE_CLASSES": ["rest_framework.throttling.ScopedRateThrottle"],
    # A client each: rows come in bursts from many Lambdas with one token.
    "DEFAULT_THROTTLE_RATES": {"rows": "200/s", "files": "100/s", "read": "50/s", "write": "20/s"},
    "EXCEPTION_HANDLER": "drf_standardized_errors.handler.exception_handler",
    "UNAUTHENTICATED_USER": "django.contrib.auth.models.AnonymousUser",
}
DRF_STANDARDIZED_ERRORS = {
    "EXCEPTION_HANDLER_CLASS": "migration_console.answers.Handler",
    "EXCEPTION_FORMATTER_CLASS": "migration_console.answers.Formatter",
}
REST_KNOX = {"TOKEN_TTL": timedelta(days=365), "AUTO_REFRESH": False, "TOKEN_LIMIT_PER_USER": None}
SPECTACULAR_SETTINGS = {
    "TITLE": "Migration console",
    "DESCRIPTION": "Moves CSV into MySQL: good rows enter exactly once, bad rows come back with every reason.",
    "VERSION": "1",
    "OAS_VERSION": "3.1.1",
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "SERVE_AUTHENTICATION": [],
    "PREPROCESSING_HOOKS": ["migration_console.openapi.without_slash"],
}

UNFOLD = {
    "SITE_TITLE": "Migration console",
    "SITE_HEADER": "Migration console",
    "SITE_SYMBOL": "database_upload",
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": lambda _request: static("console/icon.svg")}],
    "STYLES": [lambda _request: static("console/console.css")],
    "SCRIPTS": [lambda _request: static("console/console.js")],
    "DASHBOARD_CALLBACK": "migration_console.dashboard.dashboard",
    "SHOW_BACK_BUTTON": True,
    "SHOW_VIEW_ON_SITE": False,
    "SIDEBAR": {"show_search": False, "command_search": True, "navigation": NAVIGATION},
    "COMMAND": {"search_models": True, "show_history": True},
    # The accent of buttons and links: a calm blue that holds AA on white and on the dark ground.
    "COLORS": {
        "primary": {
            "50": "oklch(97% .014 254.6)",
            "100": "oklch(93.2% .032 255.585)",
            "200": "oklch(88.2% .059 254.128)",
            "300": "oklch(80.9% .105 251.813)",
            "400": "oklch(70.7% .165 254.624)",
            "500": "oklch(62.3% .214 259.815)",
            "600": "oklch(54.6% .245 262.881)",
            "700": "oklch(48.8% .243 264.376)",
            "800": "oklch(42.4% .199 265.638)",
            "900": "oklch(37.9% .146 265.522)",
            "950": "oklch(28.2% .091 267.935)",
        }
    },
}

# The lake, and how long a silent worker keeps what it claimed.
LAKE_URL = ENV.lake_url
LEASE_SECONDS = ENV.lease_seconds
SWEEP_SECONDS = ENV.sweep_seconds
LAKE_LIST_SECONDS = ENV.lake_list_seconds
MAX_FILE_BYTES = ENV.max_file_bytes
# The draft editor has some 30 inputs a column, and up to 250 columns.
DATA_UPLOAD_MAX_NUMBER_FIELDS = 10_000
BATCH_BYTES = ENV.batch_bytes
PART_BYTES = ENV.part_bytes
BACKUP_READERS = ENV.backup_readers

# How long a message is worth something: by then the sweep has rung again.
BELL_SECONDS = 2 * SWEEP_SECONDS
BROKER_FOLDER = VAR / "broker"
CELERY_BROKER_URL = ENV.celery_broker_url
CELERY_BROKER_TRANSPORT_OPTIONS = transport_options(CELERY_BROKER_URL, BROKER_FOLDER, BELL_SECONDS)
CELERY_BROKER_USE_SSL = tls(CELERY_BROKER_URL)
CELERY_TASK_DEFAULT_QUEUE = QUEUE
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_WORKER_ENABLE_REMOTE_CONTROL = has_remote_control(CELERY_BROKER_URL)
# Messages need not survive the broker: the database does.
CELERY_TASK_DEFAULT_DELIVERY_MODE = "transient"
# Who rings waits for a few seconds at most. Who listens waits for its broker as long as it takes, and comes back
# also where RabbitMQ closed the channel over a message that lay too long behind a large file (its consumer_timeout).
CELERY_BROKER_CONNECTION_TIMEOUT = CONNECT_SECONDS
CELERY_TASK_PUBLISH_RETRY_POLICY = {"max_retries": 1, "interval_start": 0, "interval_step": 0.2, "interval_max": 0.2}
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
CELERY_BROKER_CHANNEL_ERROR_RETRY = True
CELERY_BROKER_HEARTBEAT = 30
# Schedules live in the database: one beat, wherever it runs; operators change those of tables (backups/plans.py).
CELERY_BEAT_SCHEDULER = "django_celery_beat.schedulers:DatabaseScheduler"
CELERY_TIMEZONE = TIME_ZONE
CELERY_BEAT_SCHEDULE = {
    "sweep": {"task": "ingest.sweep", "schedule": timedelta(seconds=SWEEP_SECONDS)},
    "sweep backups": {"task": "backups.sweep", "schedule": timedelta(seconds=SWEEP_SECONDS)},
}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": ENV.log_level.upper()},
    # Who signed in stands in the audit log; axes tells each step that it takes.
    "loggers": {"axes": {"level": "WARNING"}},
}
