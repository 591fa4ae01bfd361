"""The task queue of the LMS."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "lms.envs.production")
APP = Celery("lms")
APP.config_from_object("django.conf:settings", namespace="CELERY")
APP.autodiscover_tasks()
