"""Settings of the running site."""

from cms.envs.production import *  # noqa: F403

DEFAULT_SITE_THEME = "campus"
