"""Settings for work on the platform itself."""

from cms.envs.common import *  # noqa: F403

DEBUG = True
DEFAULT_SITE_THEME = "campus"
STORAGES["staticfiles"] = {  # noqa: F405
    "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
}
