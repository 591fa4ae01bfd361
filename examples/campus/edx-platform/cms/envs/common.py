"""Common settings of the CMS."""

import os

from edx_django_utils.plugins import add_plugins

from openedx.envs.common import *  # noqa: F403
from openedx.envs import common as shared

PROJECT_TYPE = "cms.djangoapp"
SERVICE_VARIANT = "cms"
ROOT_URLCONF = "cms.urls"
WSGI_APPLICATION = "cms.wsgi.application"

INSTALLED_APPS = shared.installed_apps(PROJECT_TYPE)
TEMPLATES = shared.templates("cms")

STATIC_ROOT = os.environ.get("STATIC_ROOT_CMS", str(shared.REPO_ROOT / "staticfiles"))
STATICFILES_DIRS = [shared.REPO_ROOT / "common" / "static", shared.REPO_ROOT / "cms" / "static"]
WEBPACK_LOADER = shared.webpack_loader(STATIC_ROOT)

add_plugins(__name__, PROJECT_TYPE, "common")
