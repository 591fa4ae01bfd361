# What `shiplap init` asks Tutor's own Python: the images that it builds and how. Prints JSON, and no value of the configuration but
# the names of images.
import json
import os
import re
import sys

# A folder `tutor` that happens to be here is not the package.
sys.path = [path for path in sys.path if path]
out, sys.stdout = sys.stdout, sys.stderr

import tutor.commands.cli  # noqa: E402,F401  It declares the images of Tutor itself.
from tutor import __about__, bindmount, env, hooks, plugins  # noqa: E402
from tutor import config as tutor_config  # noqa: E402

root = sys.argv[1]
hooks.Actions.CORE_READY.do()
hooks.Actions.PROJECT_ROOT_READY.do(root)
config = tutor_config.load_full(root)
own = tutor_config.get_user(root) if os.path.exists(tutor_config.config_path(root)) else {}

SECRET = re.compile("PASSWORD|SECRET|TOKEN|PRIVATE|CREDENTIAL|_KEY")
secrets = [value for key, value in config.items() if isinstance(value, str) and len(value) > 5 and SECRET.search(key)]
KEYS = {"openedx": "DOCKER_IMAGE_OPENEDX", "openedx-dev": "DOCKER_IMAGE_OPENEDX_DEV", "permissions": "DOCKER_IMAGE_PERMISSIONS"}


def image(name, path, tag, args):
    """One entry of IMAGES_BUILD."""
    alone = re.fullmatch(r"\{\{ *([A-Z][A-Z0-9_]*) *\}\}", tag)
    key = KEYS.get(name) or (alone.group(1) if alone else None)
    args = [str(arg) for arg in args]
    return {
        "name": name,
        "context": env.pathjoin(root, path if isinstance(path, str) else os.path.join(*path)),
        "tag": env.render_str(config, tag),
        "key": key,
        # Whether the operator named it; else it is the name of whoever publishes the plugin.
        "own": key in own or "DOCKER_REGISTRY" in own,
        "args": [arg for arg in args if not any(secret in arg for secret in secrets)],
        "hidden": sum(any(secret in arg for secret in secrets) for arg in args),
    }


def mount(path):
    """One entry of MOUNTS, and the images that it is a build context of."""
    used = hooks.Filters.IMAGES_BUILD_MOUNTS.iterate(path)
    return {"path": path, "contexts": [{"image": name, "context": context} for name, context in used]}


info = dict(plugins.iter_info())
json.dump(
    {
        "version": __about__.__version__,
        # The information of a plugin that is one file is its path.
        "plugins": {
            name: info[name] if re.match("[0-9]", info.get(name) or "") else None for name in plugins.iter_loaded()
        },
        "images": [image(*entry) for entry in hooks.Filters.IMAGES_BUILD.iterate(config)],
        "mounts": [mount(path) for path in bindmount.get_mounts(config)],
        "pushed": [name for name, _ in hooks.Filters.IMAGES_PUSH.iterate(config)],
    },
    out,
)
