"""Settings to collect assets with: nothing that needs a database or a secret."""

from cms.envs.common import *  # noqa: F403

DEFAULT_SITE_THEME = "campus"
