#!/usr/bin/env python
"""Run a Django command for one of the two services: ./manage.py lms|cms [--settings=NAME] COMMAND."""

import argparse
import os
import sys

from django.core.management import execute_from_command_line


def parse(argv):
    """Split our own arguments from those of Django's command."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("service", choices=["lms", "cms"])
    parser.add_argument("--settings", help="module below <service>.envs, for example 'tutor.production'")
    return parser.parse_known_args(argv)


def main():
    """Set the service's settings, then hand over to Django."""
    args, rest = parse(sys.argv[1:])
    if args.settings:
        os.environ["DJANGO_SETTINGS_MODULE"] = f"{args.service}.envs.{args.settings}"
    else:
        os.environ.setdefault("DJANGO_SETTINGS_MODULE", f"{args.service}.envs.production")
    os.environ["SERVICE_VARIANT"] = args.service
    execute_from_command_line([f"{sys.argv[0]} {args.service}", *rest])


if __name__ == "__main__":
    main()
