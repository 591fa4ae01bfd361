"""Work for the queue."""

from celery import shared_task
from django.db.models import F

from campus_badges.models import Badge


@shared_task
def unit_completed(user_id, course_key):
    """Count one more unit for a learner."""
    badge, _ = Badge.objects.get_or_create(user_id=user_id, course_key=course_key)
    Badge.objects.filter(pk=badge.pk).update(completed=F("completed") + 1)
