"""Texts of many kinds, made by chance: what people and programs send, and what only wants to be cheap."""

import base64
import json
import random
import string

ENGLISH = (
    "The committee met twice last week, and it decided to postpone the election until the report is ready. "
    "Please summarise the main arguments in three short paragraphs; mention who raised them. "
    "We walked along the river for an hour before it began to rain, then took the last bus home. "
)
CODE = """
def merge(left: list[int], right: list[int]) -> list[int]:
    merged, i, j = [], 0, 0
    while i < len(left) and j < len(right):
        if left[i] <= right[j]:
            merged.append(left[i])
            i += 1
        else:
            merged.append(right[j])
            j += 1
    return merged + left[i:] + right[j:]


class Stack:
    \"\"\"A last-in, first-out list.\"\"\"

    def __init__(self) -> None:
        self._items: list[object] = []
"""
CHINESE = (
    "今天上午我们在会议室讨论了下半年的计划，大家一致认为应该先完成测试，再考虑新的功能。"
    "请把这篇文章翻译成英文，并保留原来的段落格式。春天来了，公园里的花都开了，孩子们在草地上放风筝。"
)
TRADITIONAL = "這個問題需要仔細研究，請說明資料庫的設計與實際運作方式，並列出優點和缺點。"
JAPANESE = (
    "この文章を要約してください。来週の会議では、新しい機能について話し合う予定です。図書館で本を借りました。"
)
KOREAN = (
    "이 문서를 요약해 주세요. 다음 주 회의에서 새로운 기능에 대해 "
    "이야기할 예정입니다. 도서관에서 책을 빌렸습니다."
)
RUSSIAN = (
    "Пожалуйста, перечислите основные причины задержки проекта "
    "и предложите план действий на следующий месяц. "
)
FRENCH = (
    "Pouvez-vous résumer les principaux arguments en trois paragraphes, "
    "puis préciser qui les a présentés à l'été ? "
)

_NATURAL = (ENGLISH, CODE, CHINESE, TRADITIONAL, JAPANESE, KOREAN, RUSSIAN, FRENCH)


# ranges of characters of which random texts are made
_RANGES = {
    "hieroglyphs": (0x13000, 0x1342F),
    "emoji": (0x1F600, 0x1F64F),
    "rare han": (0x3400, 0x4DB5),
    "any han": (0x4E00, 0x9FFF),
    "arabic": (0x621, 0x64A),
    "thai": (0xE01, 0xE3A),
    "devanagari": (0x904, 0x939),
    "georgian": (0x10D0, 0x10F0),
    "combining": (0x300, 0x36F),
    "private": (0xE000, 0xE0FF),
    "latin": (0xC0, 0x17F),
    "controls": (0x01, 0x08),
}
KINDS = (
    *("natural", "digits", "hex", "base64", "numbers", "json", "camel", "punctuation", "small letters"),
    *_RANGES,
)


def text_of(kind: str, size: int, chance: random.Random) -> str:
    """A text of about so many characters."""
    if kind in _RANGES:
        first, last = _RANGES[kind]
        return "".join(chr(chance.randint(first, last)) for _ in range(size))
    match kind:
        case "natural":
            text = chance.choice(_NATURAL)
            begin = chance.randrange(len(text))
            return ((text[begin:] + text) * (size // len(text) + 1))[:size]
        case "digits":
            return "".join(chance.choices(string.digits, k=size))
        case "hex":
            return chance.randbytes(size // 2).hex()
        case "base64":
            return base64.b64encode(chance.randbytes(size * 3 // 4)).decode()
        case "numbers":
            return ",".join(f"{chance.random() * 1000:.2f}" for _ in range(size // 7))
        case "json":
            rows = [{"id": row, "name": f"user{row}", "active": bool(row % 2)} for row in range(size // 45)]
            return json.dumps(rows)
        case "camel":
            words = chance.choices(("get", "user", "value", "Count", "Index", "Http", "parse"), k=size // 5)
            return "".join(word.title() for word in words)
        case "punctuation":
            return "".join(chance.choices(string.punctuation, k=size))
        case _:
            return "".join(chance.choices(string.ascii_lowercase, k=size))
