"""How the platform finds this plugin: https://docs.openedx.org/projects/edx-django-utils, "plugins"."""

from django.apps import AppConfig


class CampusBadgesConfig(AppConfig):
    """Badges for learners."""

    name = "campus_badges"
    verbose_name = "Campus badges"
    default_auto_field = "django.db.models.BigAutoField"

    plugin_app = {
        "url_config": {
            "lms.djangoapp": {"namespace": "campus_badges", "regex": r"^badges/", "relative_path": "urls"},
            "cms.djangoapp": {"namespace": "campus_badges", "regex": r"^badges/", "relative_path": "urls"},
        },
        "settings_config": {
            "lms.djangoapp": {"common": {"relative_path": "settings.common"}},
            "cms.djangoapp": {"common": {"relative_path": "settings.common"}},
        },
    }
