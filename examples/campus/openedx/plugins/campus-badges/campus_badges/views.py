"""The page that explains the badges."""

from django.conf import settings
from django.http import JsonResponse
from django.shortcuts import render

from campus_badges.levels import level


def index(request):
    """All levels, lowest first."""
    levels = sorted(settings.CAMPUS_BADGES_LEVELS.items(), key=lambda item: item[1])
    return render(request, "campus_badges/index.html", {"levels": levels})


def level_for(_request, completed):
    """The level for a number of units, as JSON."""
    return JsonResponse({"completed": completed, "level": level(completed, settings.CAMPUS_BADGES_LEVELS)})
