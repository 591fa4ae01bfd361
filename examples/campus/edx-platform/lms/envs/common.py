"""Common settings of the LMS."""

import os

from edx_django_utils.plugins import add_plugins

from openedx.envs.common import *  # noqa: F403
from openedx.envs import common as shared

PROJECT_TYPE = "lms.djangoapp"
SERVICE_VARIANT = "lms"
ROOT_URLCONF = "lms.urls"
WSGI_APPLICATION = "lms.wsgi.application"

INSTALLED_APPS = shared.installed_apps(PROJECT_TYPE)
TEMPLATES = shared.templates("lms")

STATIC_ROOT = os.environ.get("STATIC_ROOT_LMS", str(shared.REPO_ROOT / "staticfiles"))
STATICFILES_DIRS = [shared.REPO_ROOT / "common" / "static", shared.REPO_ROOT / "lms" / "static"]
WEBPACK_LOADER = shared.webpack_loader(STATIC_ROOT)

add_plugins(__name__, PROJECT_TYPE, "common")
