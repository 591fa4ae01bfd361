"""Templates of the theme that is on."""

from django.template.loaders.filesystem import Loader

from openedx.core.djangoapps.theming.helpers import current_theme, theme_dirs


class ThemeLoader(Loader):
    """Looks in the theme before the other loaders look in the service."""

    def get_dirs(self):
        """The theme's templates folder."""
        theme = current_theme()
        return [theme_dirs()[theme] / "templates"] if theme else []
