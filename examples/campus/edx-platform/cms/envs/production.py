"""Settings of the CMS in production."""

from edx_django_utils.plugins import add_plugins

from cms.envs.common import *  # noqa: F403
from openedx.envs.production import from_yaml

globals().update(from_yaml("CMS_CFG"))

add_plugins(__name__, PROJECT_TYPE, "production")  # noqa: F405
