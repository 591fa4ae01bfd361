"""Courses as the LMS lists them."""

from django.core.exceptions import ValidationError
from django.db import models
from model_utils.models import TimeStampedModel
from opaque_keys import InvalidKeyError
from opaque_keys.edx.keys import CourseKey
from simple_history.models import HistoricalRecords


def validate_course_key(value):
    """Only what the rest of Open edX can read as a course key."""
    try:
        CourseKey.from_string(value)
    except InvalidKeyError as error:
        raise ValidationError(f"{value!r} is not a course key") from error


class CourseOverview(TimeStampedModel):
    """One course."""

    key = models.CharField(max_length=255, unique=True, validators=[validate_course_key])
    title = models.CharField(max_length=255)
    summary = models.TextField(blank=True, help_text="Markdown")
    history = HistoricalRecords()

    class Meta:
        """Listed by title."""

        ordering = ["title"]

    def __str__(self):
        return self.title
