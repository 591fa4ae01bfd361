"""The courseware app."""

from django.apps import AppConfig


class CoursewareConfig(AppConfig):
    """Courses and their blocks."""

    name = "lms.djangoapps.courseware"
