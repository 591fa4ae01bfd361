"""Settings that LMS and CMS share."""

import os
import secrets
from pathlib import Path

from edx_django_utils.plugins import get_plugin_apps

REPO_ROOT = Path(__file__).resolve().parents[2]
DATA_DIR = Path(os.environ.get("CAMPUS_DATA_DIR", "/openedx/data"))

DEBUG = False
ALLOWED_HOSTS = ["*"]
# Not in any file: whoever needs sessions to outlive a restart sets it in the environment or in lms.env.yml.
SECRET_KEY = os.environ.get("SECRET_KEY") or secrets.token_hex(32)
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

SHARED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "corsheaders",
    "config_models",
    "django_filters",
    "openedx_events",
    "rest_framework",
    "simple_history",
    "statici18n",
    "waffle",
    "webpack_loader",
    "openedx.core.djangoapps.heartbeat",
    "openedx.core.djangoapps.plugins",
    "openedx.core.djangoapps.theming",
    "lms.djangoapps.courseware",
]


def installed_apps(project_type):
    """The shared apps, then those of the plugins that are installed for LMS or CMS."""
    return [*SHARED_APPS, *get_plugin_apps(project_type)]


MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "corsheaders.middleware.CorsMiddleware",
    "edx_django_utils.cache.middleware.RequestCacheMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "crum.CurrentRequestUserMiddleware",
    "waffle.middleware.WaffleMiddleware",
]

DATABASES = {
    "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": DATA_DIR / "campus.sqlite3"}
}
CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}

USE_I18N = True
USE_TZ = True
LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English"), ("fr", "Français"), ("es-419", "Español (Latinoamérica)")]
LOCALE_PATHS = [REPO_ROOT / "conf" / "locale"]
STATICI18N_OUTPUT_DIR = "js/i18n"

COMPREHENSIVE_THEME_DIRS = [
    Path(p) for p in os.environ.get("COMPREHENSIVE_THEME_DIRS", "").split(":") if p
]
DEFAULT_SITE_THEME = None

STATIC_URL = "/static/"
STATICFILES_FINDERS = [
    "openedx.core.djangoapps.theming.finders.ThemeFilesFinder",
    "openedx.core.djangoapps.theming.finders.XBlockFilesFinder",
    "django.contrib.staticfiles.finders.FileSystemFinder",
    "django.contrib.staticfiles.finders.AppDirectoriesFinder",
]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}


def webpack_loader(static_root):
    """Where webpack wrote the names of its bundles."""
    return {
        "DEFAULT": {
            "BUNDLE_DIR_NAME": "bundles/",
            "STATS_FILE": os.path.join(static_root, "webpack-stats.json"),
        }
    }


def templates(service):
    """The theme's templates come before those of the service."""
    return [
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "DIRS": [REPO_ROOT / service / "templates"],
            "OPTIONS": {
                "loaders": [
                    "openedx.core.djangoapps.theming.loaders.ThemeLoader",
                    "django.template.loaders.filesystem.Loader",
                    "django.template.loaders.app_directories.Loader",
                ],
                "context_processors": [
                    "django.template.context_processors.request",
                    "django.template.context_processors.i18n",
                    "django.contrib.auth.context_processors.auth",
                    "django.contrib.messages.context_processors.messages",
                ],
            },
        }
    ]


REST_FRAMEWORK = {
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PAGINATION_CLASS": "edx_rest_framework_extensions.paginators.DefaultPagination",
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.AllowAny"],
}
CORS_ALLOWED_ORIGINS = ["http://localhost:8002", "http://127.0.0.1:8002"]

CELERY_TASK_ALWAYS_EAGER = True
CELERY_BROKER_URL = "memory://"

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"console": {"class": "logging.StreamHandler"}},
    "root": {"handlers": ["console"], "level": "INFO"},
}
