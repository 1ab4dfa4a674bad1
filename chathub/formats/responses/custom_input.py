"""The free text in the arguments of a function that stands for a custom tool: ``{"input": "…"}``, decoded as
it comes."""

import json
import re

from chathub.formats.loose_json import as_object
from chathub.formats.responses.tools import INPUT
from chathub.text import well_formed

_BEGINNING = re.compile(rf'\s*\{{\s*"{INPUT}"\s*:\s*"')
# what can be decoded of a string: up to its end, or to an escape or a surrogate pair that is not whole
_WHOLE = re.compile(
    r"""(?: [^"\\]++
          | \\u[dD][89abAB][0-9a-fA-F]{2}
            (?: \\u[0-9a-fA-F]{4} | (?= [^\\] | \\[^u] | \\u[0-9a-fA-F]{0,3}[^0-9a-fA-F] ) )
          | \\u (?! [dD][89abAB] ) [0-9a-fA-F]{4}
          | \\["\\/bfnrt]
          | \\ (?= [^"\\/bfnrtu] )
          | \\ (?= u[0-9a-fA-F]{0,3}[^0-9a-fA-F] )
        )*+""",
    re.VERBOSE,
)
# a backslash that begins no escape of JSON
_STRAY = re.compile(r'(?<!\\)((?:\\\\)*)\\(?!["\\/bfnrt]|u[0-9a-fA-F]{4})')
# characters before the text that are looked at
_LONGEST_BEGINNING = 256


class CustomInput:
    """Decodes the text of one call. Arguments of another form are its text as a whole, once they have
    ended."""

    def __init__(self) -> None:
        self._waiting: list[str] = []
        self._size = 0
        self._is_inside = False
        self.is_over = False

    def feed(self, arguments: str) -> str:
        """The text in a further piece of the arguments."""
        if self.is_over or not arguments:
            return ""
        self._waiting.append(arguments)
        self._size += len(arguments)
        if not self._is_inside:
            if self._size > _LONGEST_BEGINNING + len(arguments):
                return ""
            text = "".join(self._waiting)
            if not (match := _BEGINNING.match(text)):
                return ""
            self._is_inside = True
            self._waiting = [text[match.end() :]]
        return self._decoded()

    def _decoded(self) -> str:
        text = "".join(self._waiting)
        end = _end_of(text)
        self.is_over = text[end : end + 1] == '"'
        self._waiting = [] if self.is_over else [text[end:]]
        return _unescaped(text[:end])

    def end(self) -> str:
        """The text that is left: the arguments have ended."""
        rest = "".join(self._waiting)
        self._waiting = []
        if self._is_inside:
            return "" if self.is_over else _unescaped(re.sub(r"\\(u[0-9a-fA-F]{0,3})?$", "", rest))
        self.is_over = True
        return _whole(rest)


def _end_of(text: str) -> int:
    match = _WHOLE.match(text)
    return match.end() if match else 0


def _unescaped(text: str) -> str:
    """A run of a JSON string as text; what is no escape stands for itself."""
    if "\\" not in text:
        return text
    try:
        return well_formed(json.loads(f'"{text}"', strict=False))
    except ValueError:
        return well_formed(json.loads(f'"{_STRAY.sub(_doubled, text)}"', strict=False))


def _doubled(match: re.Match[str]) -> str:
    return match[1] + "\\\\"


def _whole(arguments: str) -> str:
    """The text of arguments of another form: that of their ``input``, else all of them."""
    try:
        value = as_object(json.loads(arguments, strict=False))
    except (ValueError, RecursionError):
        return arguments
    return well_formed(value[INPUT]) if isinstance(value.get(INPUT), str) else arguments
