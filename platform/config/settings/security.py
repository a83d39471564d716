"""Cookies, transport security, content policy, password rules."""

from typing import Any

from csp.constants import NONE, SELF

from config.settings.environment import Environment


def security(environment: Environment) -> dict[str, Any]:
    """Settings that depend on whether people come by https."""
    secure = environment.secure
    origins = [origin for origin in environment.allowed_origins if origin]
    return {
        "ALLOWED_HOSTS": list(environment.allowed_hosts),
        "CSRF_TRUSTED_ORIGINS": origins,
        "SESSION_COOKIE_SECURE": secure,
        "CSRF_COOKIE_SECURE": secure,
        "SECURE_SSL_REDIRECT": secure,
        "SECURE_HSTS_SECONDS": 31_536_000 if secure else 0,
        "SECURE_HSTS_INCLUDE_SUBDOMAINS": secure,
        "SECURE_HSTS_PRELOAD": secure,
        "SESSION_COOKIE_HTTPONLY": True,
        "SESSION_COOKIE_SAMESITE": "Lax",
        "SESSION_COOKIE_NAME": "atrium_session",
        "SESSION_COOKIE_AGE": 14 * 24 * 3600,
        "X_FRAME_OPTIONS": "DENY",
        "SECURE_REFERRER_POLICY": "same-origin",
        "SECURE_CROSS_ORIGIN_OPENER_POLICY": "same-origin",
        "SECURE_REDIRECT_EXEMPT": [r"^health/"],
    }


CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF, "data:", "blob:"],
        "font-src": [SELF],
        "connect-src": [SELF],
        "object-src": [NONE],
        "base-uri": [NONE],
        "frame-ancestors": [NONE],
        "form-action": [SELF],
    },
}

# The back-office theme's Alpine evaluates expressions and sets inline styles; nothing else may.
ADMIN_CONTENT_POLICY = {
    "script-src": [SELF, "'unsafe-eval'", "'unsafe-inline'"],
    "style-src": [SELF, "'unsafe-inline'"],
}

PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.Argon2PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]
