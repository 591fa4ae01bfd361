"""Badges that learners have."""

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _


class Badge(models.Model):
    """One learner's badge in one course."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE)
    course_key = models.CharField(_("course"), max_length=255, db_index=True)
    completed = models.PositiveIntegerField(_("completed units"), default=0)

    class Meta:
        """One badge a learner and course."""

        constraints = [models.UniqueConstraint(fields=["user", "course_key"], name="one_badge_a_course")]
