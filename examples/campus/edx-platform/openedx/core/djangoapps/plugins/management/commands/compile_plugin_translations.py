"""Compile the message catalogues of the plugins that are installed."""

from pathlib import Path

import polib
from django.apps import apps
from django.core.management.base import BaseCommand

from edx_django_utils.plugins import get_plugin_apps
from django.conf import settings


class Command(BaseCommand):
    """Writes `django.mo` beside each `django.po`."""

    help = __doc__

    def handle(self, *args, **options):
        """Go through the plugins' apps."""
        plugins = set(get_plugin_apps(settings.PROJECT_TYPE))
        for config in apps.get_app_configs():
            entry = f"{type(config).__module__}.{type(config).__name__}"
            if entry not in plugins:
                continue
            for source in sorted(Path(config.path).glob("locale/*/LC_MESSAGES/*.po")):
                polib.pofile(str(source)).save_as_mofile(str(source.with_suffix(".mo")))
                self.stdout.write(f"{config.name}: compiled {source.relative_to(config.path)}")
