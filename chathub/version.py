"""The version of ChatHub. Its only source is ``setup.cfg``."""

from configparser import RawConfigParser
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version
from pathlib import Path


def version() -> str:
    """The version, such as ``0.2.0``.

    A checkout reads its own ``setup.cfg``: the metadata of an editable install keep the version of the day of
    the installation, and a checkout that is not installed has none.
    """
    checkout = RawConfigParser()
    checkout.read(Path(__file__).resolve().parent.parent / "setup.cfg", "utf-8")
    if checkout.get("metadata", "name", fallback="") == "chathub":
        return checkout.get("metadata", "version")
    try:
        return installed_version("chathub")
    except PackageNotFoundError:
        return "of an unknown version (neither installed nor a checkout)"
