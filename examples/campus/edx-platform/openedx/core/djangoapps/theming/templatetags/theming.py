"""Template tags for themes."""

from django import template
from django.templatetags.static import static

from openedx.core.djangoapps.theming.helpers import current_theme

register = template.Library()


@register.simple_tag
def theme_static(path):
    """The URL of a file of the theme, or of the default look when no theme is on."""
    theme = current_theme()
    return static(f"{theme}/{path}" if theme else path)


@register.simple_tag
def theme_name():
    """The theme's name, for people."""
    return current_theme() or "default"
