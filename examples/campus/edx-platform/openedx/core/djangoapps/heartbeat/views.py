"""The health check: 200 when every check passes, else 503."""

import os

import yaml
from django.conf import settings
from django.core.cache import cache
from django.db import DatabaseError, connection
from django.http import JsonResponse


def check_sql():
    """Can the database answer?"""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        return {"status": True, "message": "OK"}
    except DatabaseError as error:
        return {"status": False, "message": str(error)}


def check_cache():
    """Does the cache give back what it was given?"""
    cache.set("heartbeat", "1", 5)
    found = cache.get("heartbeat") == "1"
    return {"status": found, "message": "OK" if found else "the cache lost a value"}


def revisions():
    """What the image says that it was built from."""
    try:
        with open(os.environ.get("REVISION_CFG", ""), encoding="utf-8") as f:
            return yaml.safe_load(f)
    except FileNotFoundError:
        return {}


def heartbeat(_request):
    """Run the checks."""
    checks = {"sql": check_sql(), "cache": check_cache()}
    healthy = all(check["status"] for check in checks.values())
    body = {"service": settings.SERVICE_VARIANT, "revisions": revisions(), **checks}
    return JsonResponse(body, status=200 if healthy else 503)
