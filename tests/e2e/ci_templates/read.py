#!/usr/bin/env python3
"""Reads the templates of examples/ci as their systems do, and prints them as JSON for ci_templates.rs. Ends with 1 and says why where a template is wrong.

    read.py gitlab TEMPLATE OUT [NAME=VALUE...]   its jobs with these inputs, `extends` resolved; the interpolated pipeline goes to OUT
    read.py yaml FILE                             as it is
    read.py argo FILE                             as it is, if Argo knows all of it
    read.py pod FILE                              the pod that Argo makes of the only template of FILE
"""

import copy
import json
import re
import sys

import yaml

PLACEHOLDER = re.compile(r"\$\[\[ inputs\.([a-z0-9-]+) \]\]")


def fail(why):
    sys.exit(f"{sys.argv[2]}: {why}")


def documents(path):
    with open(path) as file:
        return list(yaml.safe_load_all(file))


def interpolate(node, values):
    """GitLab's rule: a scalar that is a placeholder and nothing else gets the type of its input, and in a longer one it is text."""
    if isinstance(node, dict):
        return {interpolate(key, values): interpolate(value, values) for key, value in node.items()}
    if isinstance(node, list):
        return [interpolate(item, values) for item in node]
    if not isinstance(node, str):
        return node
    whole = PLACEHOLDER.fullmatch(node)
    if whole:
        return values[whole[1]]
    return PLACEHOLDER.sub(lambda found: str(values[found[1]]), node)


def merge(below, above):
    """`extends`: maps are merged, everything else is replaced."""
    merged = copy.deepcopy(below)
    for key, value in above.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = merge(merged[key], value) if both else value
    return merged


def gitlab(path, out, *given):
    header, pipeline = documents(path)
    inputs = header["spec"]["inputs"]
    used = set(PLACEHOLDER.findall(json.dumps(pipeline)))
    if used != set(inputs):
        fail(f"inputs that are declared and not used, or the reverse: {sorted(used ^ set(inputs))}")
    values = {name: about["default"] for name, about in inputs.items() if "default" in about}
    values.update(pair.split("=", 1) for pair in given)
    if set(values) != set(inputs):
        fail(f"these inputs are needed, or are none: {sorted(set(values) ^ set(inputs))}")
    pipeline = interpolate(pipeline, values)
    with open(out, "w") as file:
        yaml.safe_dump(pipeline, file)
    jobs = {}
    for name, job in pipeline.items():
        if not name.startswith("."):
            jobs[name] = merge(pipeline[job["extends"]], job) if "extends" in job else job
    return jobs


def argo(path):
    # Models made from the OpenAPI document of Argo Workflows. They drop what they do not know, so nothing may be missing afterwards.
    from hera.workflows.models import WorkflowTemplate

    (template,) = documents(path)
    known = json.loads(WorkflowTemplate.model_validate(template).model_dump_json(by_alias=True, exclude_unset=True))
    if known != template:
        fail("Argo does not know, or means by another name: " + ", ".join(different(template, known, "")))
    return template


def different(ours, known, at):
    if isinstance(ours, dict) and isinstance(known, dict):
        for key in ours.keys() | known.keys():
            yield from different(ours.get(key), known.get(key), f"{at}/{key}")
    elif isinstance(ours, list) and isinstance(known, list) and len(ours) == len(known):
        for index, pair in enumerate(zip(ours, known)):
            yield from different(*pair, f"{at}/{index}")
    elif ours != known:
        yield at


def pod(path):
    spec = argo(path)["spec"]
    (template,) = spec["templates"]
    made = {"restartPolicy": "Never", "volumes": spec["volumes"], "containers": [{"name": "main", **template["container"]}]}
    made.update(yaml.safe_load(spec["podSpecPatch"]))
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "shiplap"}, "spec": made}


def plain(path):
    (document,) = documents(path)
    return document


command, arguments = sys.argv[1], sys.argv[2:]
json.dump({"gitlab": gitlab, "yaml": plain, "argo": argo, "pod": pod}[command](*arguments), sys.stdout)
