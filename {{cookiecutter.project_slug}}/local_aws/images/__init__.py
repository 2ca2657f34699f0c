"""Which container images can run here, and what stands in for each."""

import sys
import tomllib
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from local_aws.validation import ApiError

FUNCTION_STEP = "local_aws.images.function_step"
XGBOOST = "local_aws.images.xgboost"
CLARIFY = "local_aws.images.clarify"
MANAGED = {"*/sagemaker-xgboost:3.2-0": XGBOOST, "*/sagemaker-clarify-processing:1.0": CLARIFY}
SETTING = "[tool.local_aws.images]"


@dataclass(frozen=True)
class Image:
    """What stands in for the images that match a pattern.

    module: runs the image's jobs. serve: the command that `serve` starts, empty when it serves nothing.
    """

    pattern: str
    module: str
    serve: tuple[str, ...] = ()


@dataclass(frozen=True)
class Images:
    """The table of images that can run; `source` is the file that names the project's own."""

    table: tuple[Image, ...]
    source: Path

    def resolve(self, uri: str) -> Image:
        """What stands in for `uri`. ApiError names the known patterns when nothing does."""
        for image in self.table:
            if fnmatchcase(uri, image.pattern):
                return image
        known = ", ".join(image.pattern for image in self.table)
        message = (
            f"The local AWS cannot run the image {uri!r}: it knows {known} (more: {self.source}, {SETTING})"
        )
        raise ApiError("ValidationException", message)


def load_images(pyproject: Path) -> Images:
    """AWS's images that are stood in for, and those of `[tool.local_aws.images]` in `pyproject`.

    There a pattern of image URIs names the command that `serve` starts; `python` means this interpreter.
    """
    document = tomllib.loads(pyproject.read_text()) if pyproject.exists() else {}
    own = document.get("tool", {}).get("local_aws", {}).get("images", {})
    managed = [Image(pattern, module) for pattern, module in MANAGED.items()]
    project = [Image(pattern, FUNCTION_STEP, _command(text)) for pattern, text in own.items()]
    return Images((*managed, *project), pyproject)


def _command(text: str) -> tuple[str, ...]:
    program, *arguments = text.split()
    return (sys.executable if program == "python" else program, *arguments)
