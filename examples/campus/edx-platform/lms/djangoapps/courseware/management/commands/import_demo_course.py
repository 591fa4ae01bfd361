"""Add the demonstration course."""

from django.core.management.base import BaseCommand

from lms.djangoapps.courseware.models import CourseOverview


class Command(BaseCommand):
    """Safe to run twice."""

    help = __doc__

    def handle(self, *args, **options):
        """Create the course or leave it as it is."""
        course, created = CourseOverview.objects.get_or_create(
            key="course-v1:Campus+Demo+2026",
            defaults={"title": "A walk over the campus", "summary": "Start at the **library**."},
        )
        self.stdout.write(f"{course.key}: {'added' if created else 'there already'}")
