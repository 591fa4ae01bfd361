"""Settings of the LMS in production."""

from edx_django_utils.plugins import add_plugins

from lms.envs.common import *  # noqa: F403
from openedx.envs.production import from_yaml

globals().update(from_yaml("LMS_CFG"))

add_plugins(__name__, PROJECT_TYPE, "production")  # noqa: F405
