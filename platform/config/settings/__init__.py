"""Django's settings, assembled from one module per concern. Nothing else reads the environment."""

import os
import sys
from pathlib import Path

import django_stubs_ext

from config.settings.adapters import DIRECTORIES, JOB_HANDLERS, backend_specs, background_work
from config.settings.apps import INSTALLED_APPS, MIDDLEWARE
from config.settings.background import (
    CELERY_BEAT_SCHEDULE,
    CELERY_TASK_DEFAULT_QUEUE,
    celery_settings,
)
from config.settings.console import UNFOLD
from config.settings.database import databases, units
from config.settings.environment import SettingError, read_environment
from config.settings.identity import (
    ACCOUNT_ADAPTER,
    ACCOUNT_EMAIL_VERIFICATION,
    ACCOUNT_LOGIN_METHODS,
    ACCOUNT_LOGOUT_ON_PASSWORD_CHANGE,
    ACCOUNT_PREVENT_ENUMERATION,
    ACCOUNT_RATE_LIMITS,
    ACCOUNT_SESSION_REMEMBER,
    ACCOUNT_SIGNUP_FIELDS,
    ACCOUNT_USER_MODEL_USERNAME_FIELD,
    AUTH_USER_MODEL,
    AUTHENTICATION_BACKENDS,
    LOGIN_REDIRECT_URL,
    LOGIN_URL,
    LOGOUT_REDIRECT_URL,
    MFA_ADAPTER,
    MFA_ALLOW_UNVERIFIED_EMAIL,
    MFA_PASSKEY_LOGIN_ENABLED,
    MFA_SUPPORTED_TYPES,
    MFA_TOTP_ISSUER,
    MFA_TOTP_TOLERANCE,
)
from config.settings.observability import logging_settings, metrics_folder
from config.settings.origins import configured_values
from config.settings.rest import REST_FRAMEWORK, SPECTACULAR_SETTINGS
from config.settings.security import (
    ADMIN_CONTENT_POLICY,
    AUTH_PASSWORD_VALIDATORS,
    CONTENT_SECURITY_POLICY,
    PASSWORD_HASHERS,
    security,
)
from config.settings.web import caches, email, template_folder, templates

django_stubs_ext.monkeypatch()

try:
    ATRIUM = read_environment(os.environ)
    DATABASES = databases(ATRIUM)
    BACKENDS = backend_specs(ATRIUM)
    BACKGROUND = background_work(ATRIUM)
    METRICS_FOLDER = metrics_folder(ATRIUM)
except SettingError as error:
    sys.exit(f"atrium: {error}")

# What the system page shows: every variable, where it comes from, never a secret.
CONFIGURATION = configured_values(os.environ, ATRIUM)

DEBUG = ATRIUM.debug
SECRET_KEY = ATRIUM.secret_key
KEYRING = ATRIUM.keyring
UNITS = units(ATRIUM)
EMBEDDING_MODEL = ATRIUM.embeddings_model or "atrium-embedding"

ROOT_URLCONF = "config.urls"
ASGI_APPLICATION = "config.asgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
TEMPLATES = templates(template_folder(Path(__file__)))
CACHES = caches(ATRIUM)
# Letters reach people. Without a mail server nothing that carries a token is mailed: the console is a log.
MAIL_CONFIGURED = ATRIUM.email_url.startswith("smtp")
SESSION_ENGINE = "tenants.session_engine"
STATIC_URL = "/static/"
STATIC_ROOT = ATRIUM.home / "static"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.InMemoryStorage"},
    "staticfiles": {"BACKEND": "config.static.AtriumStaticStorage"},
}

LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English"), ("de", "Deutsch")]
USE_I18N = True
LOCALE_PATHS = [Path(__file__).resolve().parents[1] / "locale"]
LANGUAGE_COOKIE_NAME = "atrium_language"
USE_TZ = True
TIME_ZONE = "UTC"

# Bodies above this size are refused before they are read into memory; uploads are streamed to disk.
DATA_UPLOAD_MAX_MEMORY_SIZE = 20 * 1024 * 1024
FILE_UPLOAD_MAX_MEMORY_SIZE = 1024 * 1024

LOGGING = logging_settings(debug=DEBUG)

for _name, _value in (security(ATRIUM) | email(ATRIUM) | celery_settings(ATRIUM)).items():
    globals()[_name] = _value

__all__ = [
    "ACCOUNT_ADAPTER",
    "ACCOUNT_EMAIL_VERIFICATION",
    "ACCOUNT_LOGIN_METHODS",
    "ACCOUNT_LOGOUT_ON_PASSWORD_CHANGE",
    "ACCOUNT_PREVENT_ENUMERATION",
    "ACCOUNT_RATE_LIMITS",
    "ACCOUNT_SESSION_REMEMBER",
    "ACCOUNT_SIGNUP_FIELDS",
    "ACCOUNT_USER_MODEL_USERNAME_FIELD",
    "ADMIN_CONTENT_POLICY",
    "AUTHENTICATION_BACKENDS",
    "AUTH_PASSWORD_VALIDATORS",
    "AUTH_USER_MODEL",
    "CELERY_BEAT_SCHEDULE",
    "CELERY_TASK_DEFAULT_QUEUE",
    "CONTENT_SECURITY_POLICY",
    "DIRECTORIES",
    "INSTALLED_APPS",
    "JOB_HANDLERS",
    "LOGIN_REDIRECT_URL",
    "LOGIN_URL",
    "LOGOUT_REDIRECT_URL",
    "MFA_ADAPTER",
    "MFA_ALLOW_UNVERIFIED_EMAIL",
    "MFA_PASSKEY_LOGIN_ENABLED",
    "MFA_SUPPORTED_TYPES",
    "MFA_TOTP_ISSUER",
    "MFA_TOTP_TOLERANCE",
    "MIDDLEWARE",
    "PASSWORD_HASHERS",
    "REST_FRAMEWORK",
    "SPECTACULAR_SETTINGS",
    "UNFOLD",
]
