"""URL of the health check."""

from django.urls import path

from openedx.core.djangoapps.heartbeat.views import heartbeat

urlpatterns = [path("", heartbeat, name="heartbeat")]
