"""URLs of the CMS."""

from django.urls import include, path
from django.views.generic import TemplateView
from edx_django_utils.plugins import get_plugin_url_patterns

urlpatterns = [
    path("", TemplateView.as_view(template_name="studio.html"), name="index"),
    path("heartbeat", include("openedx.core.djangoapps.heartbeat.urls")),
    *get_plugin_url_patterns("cms.djangoapp"),
]
