"""URLs below /badges/."""

from django.urls import path

from campus_badges import views

urlpatterns = [
    path("", views.index, name="index"),
    path("level/<int:completed>/", views.level_for, name="level"),
]
