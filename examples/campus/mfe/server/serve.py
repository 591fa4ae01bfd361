"""Serve the applications' files on port 8002 (or PORT); what is no file gets its application's index.html."""

import functools
import http.server
import os
import pathlib
import sys


class Handler(http.server.SimpleHTTPRequestHandler):
    """Files, and index.html for the addresses that an application makes up itself."""

    def translate_path(self, path):
        """The file for an address."""
        found = pathlib.Path(super().translate_path(path))
        if found.exists():
            return str(found)
        app = path.lstrip("/").partition("/")[0]
        return super().translate_path(f"/{app}/index.html")


def main(folder):
    """Serve until stopped."""
    address = ("0.0.0.0", int(os.environ.get("PORT", "8002")))  # noqa: S104 a container's port
    handler = functools.partial(Handler, directory=folder)
    with http.server.ThreadingHTTPServer(address, handler) as server:
        server.serve_forever()


if __name__ == "__main__":
    main(sys.argv[1])
