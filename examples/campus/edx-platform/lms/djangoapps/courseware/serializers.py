"""Courses as JSON."""

from rest_framework import serializers

from lms.djangoapps.courseware.models import CourseOverview


class CourseSerializer(serializers.ModelSerializer):
    """One course."""

    class Meta:
        """What the list shows."""

        model = CourseOverview
        fields = ["key", "title", "summary"]
