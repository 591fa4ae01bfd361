"""Which theme is on, and where it lives."""

from pathlib import Path

from django.conf import settings


def theme_dirs():
    """Every theme's folder for this service, by the theme's name."""
    found = {}
    for parent in settings.COMPREHENSIVE_THEME_DIRS:
        for folder in sorted(Path(parent).iterdir()) if Path(parent).is_dir() else []:
            if (folder / settings.SERVICE_VARIANT).is_dir():
                found[folder.name] = folder / settings.SERVICE_VARIANT
    return found


def current_theme():
    """The name of the theme that is on, or None for the default look."""
    name = settings.DEFAULT_SITE_THEME
    return name if name in theme_dirs() else None
