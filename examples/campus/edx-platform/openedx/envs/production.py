"""What a running site reads from its YAML file, on top of the common settings."""

import os

import yaml


def from_yaml(variable):
    """The settings in the file that an environment variable names; none when there is no such file."""
    path = os.environ.get(variable)
    if not path or not os.path.exists(path):
        return {}
    with open(path, encoding="utf-8") as f:
        loaded = yaml.safe_load(f) or {}
    return {name: value for name, value in loaded.items() if name.isupper()}
