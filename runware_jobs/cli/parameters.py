"""Parameters of a task as a person types them: KEY=VALUE, files of JSON, a size such as 1024x1024."""

import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import typer

_SIZE: Final = re.compile(r"(\d+)[xX](\d+)")
_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]*(?:\.[A-Za-z][A-Za-z0-9_]*)*")

Params = Annotated[
    list[str] | None,
    typer.Option(
        "--param",
        "-p",
        metavar="KEY=VALUE",
        help="A parameter of the task; VALUE is JSON where it can be, @FILE reads a media file, dots nest"
        " (inputs.image=@a.jpg).",
    ),
]
ParamsFile = Annotated[
    Path | None,
    typer.Option(
        "--params",
        metavar="FILE",
        help="A JSON object of parameters; - reads standard input.",
        allow_dash=True,
    ),
]
Model = Annotated[str | None, typer.Option("--model", "-m", help="The model's AIR, or its curated name.")]
Size = Annotated[str | None, typer.Option("--size", metavar="WxH", help="Width and height in pixels.")]


def collect(
    *,
    file: Path | None = None,
    params: Sequence[str] | None = None,
    model: str | None = None,
    size: str | None = None,
) -> dict[str, Any]:
    """Put parameters together: the file's, then --model and --size, then each KEY=VALUE.

    Raises:
        typer.BadParameter: names the option and what it should look like.
    """
    collected = {} if file is None else _read_object(file)
    if model is not None:
        collected["model"] = model
    if size is not None:
        match = _SIZE.fullmatch(size.strip())
        if match is None:
            raise typer.BadParameter(f"--size {size!r} is no size; example: --size 1024x1024")
        collected["width"], collected["height"] = int(match[1]), int(match[2])
    for param in params or ():
        _put(collected, param)
    return collected


def _read_object(file: Path) -> dict[str, Any]:
    try:
        text = sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise typer.BadParameter(f"--params {file} cannot be read: {error}") from None
    try:
        value = json.loads(text)
    except ValueError as error:
        raise typer.BadParameter(f"--params {file} is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise typer.BadParameter(f"--params {file} must hold a JSON object, not {type(value).__name__}")
    return value


def _put(collected: dict[str, Any], param: str) -> None:
    key, separator, text = param.partition("=")
    if not separator or not _NAME.fullmatch(key):
        raise typer.BadParameter(f"--param {param!r} is not KEY=VALUE; example: --param steps=20")
    *path, last = key.split(".")
    place = collected
    for name in path:
        inner = place.setdefault(name, {})
        if not isinstance(inner, dict):
            raise typer.BadParameter(f"--param {param!r}: {name} is a value already, nothing can lie in it")
        place = inner
    place[last] = _read_value(key, text)


def _read_value(key: str, text: str) -> Any:
    if text.startswith("@"):
        path = Path(text[1:]).expanduser()
        if not path.is_file():
            raise typer.BadParameter(f"--param {key}: there is no file {text[1:]}")
        return path
    try:
        return json.loads(text)
    except ValueError:
        return text
