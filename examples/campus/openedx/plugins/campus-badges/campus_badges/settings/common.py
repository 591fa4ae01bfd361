"""Settings that the plugin brings."""


def plugin_settings(settings):
    """Defaults; a site's own settings come later and win."""
    settings.CAMPUS_BADGES_LEVELS = {"bronze": 1, "silver": 5, "gold": 10}
