"""Gunicorn's settings; WEB_CONCURRENCY sets the number of processes."""

import os

bind = f"0.0.0.0:{os.environ.get('PORT', '8000')}"
proc_name = f"campus-{os.environ.get('SERVICE_VARIANT', 'lms')}"
accesslog = "-"
# Load the site once, before the processes part: they then share its memory and its secret key.
preload_app = True
