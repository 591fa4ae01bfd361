"""
Shiplap for Tutor: `tutor images build` builds with Shiplap, and `tutor k8s` runs the digests that `shiplap deploy` wrote.

`shiplap tutor install` writes this file and replaces it. What is edited here is not replaced without --force.
It needs Tutor 18 or newer and the program `shiplap`, which SHIPLAP_PROGRAM names when it is not in PATH.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess

import click
from tutor import fmt, hooks, utils
from tutor.exceptions import TutorError

PROGRAM = os.environ.get("SHIPLAP_PROGRAM", "shiplap")
# What the deploy target `tutor` writes, in the root of the project.
IMAGES = "shiplap-images.json"
SCHEMA = "shiplap.tutor/1"
# `<version>-g<12 of the commit>`, which is made once and never moved.
RELEASE_TAG = re.compile(r":[0-9]+\.[^:/@]*-g[0-9a-f]{12}(-dirty\.[0-9a-f]{8})?$")

# Other plugins' changes of the command come first.
@hooks.Filters.DOCKER_BUILD_COMMAND.add(priority=hooks.priorities.LOW)
def _build_with_shiplap(command: list[str]) -> list[str]:
    """
    Build, and give the image to the engine. Nothing is left for docker to do.

    Tutor runs what comes back as `docker ...` and nothing else, so the build itself happens here.
    """
    words = command[1:] if command[:1] == ["buildx"] else command
    if words[:1] != ["build"]:
        fmt.echo_alert(f"shiplap: this is no build, so docker runs it: {' '.join(command)}")
        return command
    if shutil.which(PROGRAM) is None:
        raise TutorError(
            f"the plugin shiplap is enabled, and there is no program `{PROGRAM}`: install it, name it with SHIPLAP_PROGRAM, "
            "or run `tutor plugins disable shiplap`"
        )
    if shutil.which("docker") is None:
        raise TutorError(
            "Tutor needs the program docker to end a build. Without it, build with `shiplap build INSTANCE` "
            "(`shiplap init` begins a shiplap.toml) and publish with `shiplap release` or `shiplap push`"
        )
    for tag in _tags(words):
        if RELEASE_TAG.search(tag):
            raise TutorError(
                f"{tag} is the tag of a release, which is made once: `shiplap release` makes the next one, and `shiplap deploy` "
                "names it in config.yml. `tutor local launch --skip-build` starts what is deployed"
            )
    words, loads = _without_load(words[1:])
    answers = loads and _engine_answers()
    if answers:
        words.insert(0, "--load")
    utils.execute(PROGRAM, "build", *words)
    if loads and not answers:
        fmt.echo_alert(
            "shiplap: no Docker engine answers, so the image is in Shiplap's store alone. `shiplap push NAME` takes it to its registry"
        )
    # Tutor runs something: this needs no engine.
    return ["--version"]


def _tags(words: list[str]) -> list[str]:
    tags = [word[len("--tag=") :] for word in words if word.startswith("--tag=")]
    return tags + [value for flag, value in zip(words, words[1:]) if flag in ("-t", "--tag")]


def _without_load(words: list[str]) -> tuple[list[str], bool]:
    """
    Take out the flags that mean "into the engine", and say whether there were any.
    """
    kept: list[str] = []
    loads = False
    rest = iter(words)
    for word in rest:
        if word in ("-o", "--output"):
            word = "--output=" + next(rest, "")
        if word in ("--load", "--output=type=docker"):
            loads = True
        else:
            kept.append(word)
    return kept, loads


def _engine_answers() -> bool:
    asked = subprocess.run(
        ["docker", "version", "--format", "{{.Server.Version}}"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
    )
    return asked.returncode == 0


# What other plugins patch is known then.
@hooks.Filters.ENV_PATCHES.add(priority=hooks.priorities.LOW)
def _pin_images_of_the_cluster(patches: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """
    Tell kustomize the digest of each image that was deployed.
    """
    images = _deployed()
    if not images:
        return patches
    if any(name == "kustomization" and re.search(r"(?m)^images:", text) for name, text in patches):
        fmt.echo_alert(
            "shiplap: another plugin sets `images:` in the patch `kustomization`, where there can be only one, so `tutor k8s` runs tags "
            "and not digests"
        )
        return patches
    lines = ["images:"]
    for repository, pin in sorted(images.items()):
        lines.append(f"- name: {json.dumps(repository)}")
        lines.append(f"  newTag: {json.dumps(pin['tag'])}")
        lines.append(f"  digest: {json.dumps(pin['digest'])}")
    return [*patches, ("kustomization", "\n".join(lines))]


def _deployed() -> dict[str, dict[str, str]]:
    context = click.get_current_context(silent=True)
    root = context.find_root().params.get("root") if context else os.environ.get("TUTOR_ROOT")
    if not root:
        return {}
    path = os.path.join(root, IMAGES)
    try:
        with open(path, encoding="utf-8") as file:
            document = json.load(file)
        if document["schema"] != SCHEMA:
            raise TutorError(f"{path} is of the schema {document['schema']}: run `shiplap tutor install` again")
        images = document["images"]
        return {name: {"tag": pin["tag"], "digest": pin["digest"]} for name, pin in images.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise TutorError(f"cannot read {path}: {error!r}. `shiplap deploy` writes it anew when it is gone") from error
