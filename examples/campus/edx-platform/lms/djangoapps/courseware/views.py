"""Pages of the LMS."""

import markdown
from django.http import Http404
from django.shortcuts import get_object_or_404, render
from django.utils.safestring import mark_safe
from edx_toggles.toggles import WaffleSwitch
from lxml_html_clean import clean_html
from rest_framework.generics import ListAPIView
from xblock.core import XBlock
from xblock.plugin import PluginMissingError

from lms.djangoapps.courseware.models import CourseOverview
from lms.djangoapps.courseware.runtime import CampusRuntime
from lms.djangoapps.courseware.serializers import CourseSerializer

# .. toggle_name: courseware.hide_summaries
# .. toggle_implementation: WaffleSwitch
# .. toggle_default: False
# .. toggle_description: Leave the summaries out of the list of courses.
# .. toggle_use_cases: open_edx
# .. toggle_creation_date: 2026-01-01
HIDE_SUMMARIES = WaffleSwitch("courseware.hide_summaries", __name__)


def index(request):
    """The landing page. It needs no table, so it answers before the first migration."""
    blocks = sorted({name for name, _ in XBlock.load_classes(fail_silently=True)})
    return render(request, "index.html", {"blocks": blocks})


def courses(request):
    """All courses."""
    context = {"courses": CourseOverview.objects.all(), "hide": HIDE_SUMMARIES.is_enabled()}
    return render(request, "courses.html", context)


def course(request, course_key):
    """One course, its summary as HTML."""
    found = get_object_or_404(CourseOverview, key=course_key)
    summary = mark_safe(clean_html(markdown.markdown(found.summary) or "<p></p>"))  # noqa: S308
    return render(request, "course.html", {"course": found, "summary": summary})


def xblock(request, block_type):
    """One block as a learner sees it."""
    try:
        fragment = CampusRuntime().render_page(block_type)
    except PluginMissingError as error:
        raise Http404(f"no XBlock of type {block_type!r} is installed") from error
    return render(request, "xblock.html", {"fragment": fragment, "block_type": block_type})


class CourseList(ListAPIView):
    """The courses as JSON, a page at a time."""

    queryset = CourseOverview.objects.all()
    serializer_class = CourseSerializer
