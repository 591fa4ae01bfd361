"""Static files that are in no app: those of themes and of XBlocks."""

from importlib.resources import files
from pathlib import Path

from django.contrib.staticfiles import utils
from django.contrib.staticfiles.finders import BaseFinder
from django.core.files.storage import FileSystemStorage
from xblock.core import XBlock

from openedx.core.djangoapps.theming.helpers import theme_dirs


class PrefixFinder(BaseFinder):
    """Finds `<prefix>/<path>` as `<path>` in the folder that belongs to the prefix."""

    # Folders that nobody serves.
    ignored = ()

    def folders(self):
        """The folders by their prefixes."""
        raise NotImplementedError

    def __init__(self, *args, **kwargs):
        self.storages = {}
        for prefix, folder in self.folders().items():
            storage = FileSystemStorage(location=folder)
            storage.prefix = prefix
            self.storages[prefix] = storage
        super().__init__(*args, **kwargs)

    def check(self, **_kwargs):
        """Nothing can be set wrong here."""
        return []

    def list(self, ignore_patterns):
        """Every file to collect."""
        for storage in self.storages.values():
            for path in utils.get_files(storage, [*(ignore_patterns or []), *self.ignored]):
                yield path, storage

    def find(self, path, find_all=False, **_kwargs):
        """The file behind a static path, for the development server."""
        for prefix, storage in self.storages.items():
            if path.startswith(f"{prefix}/"):
                found = Path(storage.path(path.removeprefix(f"{prefix}/")))
                if found.exists():
                    return [str(found)] if find_all else str(found)
        return []


class ThemeFilesFinder(PrefixFinder):
    """`<theme>/css/x.css` is `themes/<theme>/<service>/static/css/x.css`."""

    ignored = ("sass",)

    def folders(self):
        """The static folders of the themes."""
        found = {name: folder / "static" for name, folder in theme_dirs().items()}
        return {name: folder for name, folder in found.items() if folder.is_dir()}


class XBlockFilesFinder(PrefixFinder):
    """`xblock/<type>/public/x.css` is `public/x.css` in the package of that XBlock."""

    def folders(self):
        """The public folders of the XBlocks that are installed."""
        found = {
            f"xblock/{name}/public": Path(str(files(block.__module__.partition(".")[0]))) / "public"
            for name, block in XBlock.load_classes(fail_silently=True)
        }
        return {prefix: folder for prefix, folder in sorted(found.items()) if folder.is_dir()}
