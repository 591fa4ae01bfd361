"""URLs of the LMS."""

from django.urls import include, path
from edx_django_utils.plugins import get_plugin_url_patterns

from lms.djangoapps.courseware import views

urlpatterns = [
    path("", views.index, name="index"),
    path("courses/", views.courses, name="courses"),
    path("courses/<str:course_key>/", views.course, name="course"),
    path("xblock/<slug:block_type>/", views.xblock, name="xblock"),
    path("api/courses/v1/courses/", views.CourseList.as_view(), name="course-list"),
    path("heartbeat", include("openedx.core.djangoapps.heartbeat.urls")),
    path("i18n/", include("django.conf.urls.i18n")),
    *get_plugin_url_patterns("lms.djangoapp"),
]
