"""Phrases by which providers refuse a part of a request; ``quirk_learning`` looks for them."""

import re

ROLE = re.compile(
    r"only user(?:,| and) assistant roles"
    r"|(?:role['\"`]?|messages\[\d+\]\.role['\"`]?) does not support ['\"`]?(?:system|developer)\b"
    r"|\b(?:system|developer)['\"`]? (?:roles?|messages?|prompts?|instructions?)?"
    r" ?(?:is |are )?(?:not (?:supported|enabled|allowed)|unsupported)",
    re.IGNORECASE,
)
STREAM_ONLY = re.compile(
    r"only supports? (?:the )?stream|stream(?:ing)? (?:mode )?only|must be (?:called )?(?:in )?stream"
    r"|restricted to true",
    re.IGNORECASE,
)
THINKING_ON = re.compile(
    r"enable_thinking.{0,40}(?:false|non-stream)|enable.thinking can ?not be support", re.IGNORECASE
)
# Gemini's words for both penalties
PENALTY = re.compile(r"\bpenalt(?:y|ies) (?:is|are) not (?:enabled|supported|allowed)", re.IGNORECASE)
NO_THOUGHTS = re.compile(
    r"\bthinking(?: \w+)? (?:is |are )?not (?:enabled|supported|allowed)|(?:not|n't) support thinking",
    re.IGNORECASE,
)
TOO_MANY = re.compile(r"max_tokens: \d+ > (\d+)")
TOO_LONG_LIST = re.compile(
    r"too (?:many|long)|(?:maximum|max|at most|up to|more than|exceeds?|less than)(?: \w+){0,5} \d+|<= ?\d+",
    re.IGNORECASE,
)
# how a refusal names a field that a provider does not know or take
FIELD_REFUSED = re.compile(
    r"unsupported|(?:not|n't)(?: be| currently)? (?:support|accept|recogni[sz]e|permitted|allowed)|unknown"
    r"|unrecogni[sz]ed|unexpected|cannot find field|extra (?:inputs?|fields?|param)|additional propert"
    r"|not a (?:valid|known) (?:param|field|arg)|no such (?:param|field|arg)|invalid (?:param|field|arg)"
    r"|不支持|未知(?:的)?(?:参数|字段)",
    re.IGNORECASE,
)
# it is the value that is refused, and the client should know
VALUE_REFUSED = re.compile(
    r"(?:unsupported|invalid|unknown) value|must be one of|supported values", re.IGNORECASE
)
STRICT_REFUSED = re.compile(
    r"\bstrict\b.{0,60}?(?:extra (?:inputs?|fields?)|unknown|unrecogni[sz]ed|unexpected|unsupported"
    r"|(?:not|n't) (?:be )?(?:support|permit|allow|recogni))"
    r"|(?:unknown|unrecogni[sz]ed|unexpected|unsupported|(?:not|n't) support\w*|no such).{0,40}?\bstrict\b",
    re.IGNORECASE,
)
CACHE_POINT_REFUSED = re.compile(
    r"\bcache_control\b.{0,60}?(?:extra (?:inputs?|fields?)|unknown|unrecogni[sz]ed|unexpected|unsupported"
    r"|(?:not|n't) (?:be )?(?:support|permit|allow|recogni)|不支持|未知)"
    r"|(?:unknown|unrecogni[sz]ed|unexpected|unsupported|(?:not|n't) support\w*|no such|不支持|未知).{0,40}?"
    r"\bcache_control\b"
    r"|\bcaching (?:is )?not (?:supported|enabled|available)|(?:not|n't) support (?:prompt )?caching\b",
    re.IGNORECASE,
)
# strict tools have limits of number and size, and take not every kind of schema
STRICT_IMPOSSIBLE = re.compile(
    r"\bgrammar\b|invalid schema for function|\bstrict tools?\b|too many (?:optional|union)"
    r"|schemas?(?: is| are)? too complex|for ['\"`]\w+['\"`] type\b|input_schema\b.{0,80}?not support",
    re.IGNORECASE,
)
FILE_REFUSED = re.compile(
    r"(?:variant|type|value|part|input)s?:? ['\"`]?(?:file|document|pdf|application/pdf)\b"
    r"|['\"`](?:file|document)['\"`]? (?:is|are|content|parts?|inputs?)"
    r"|(?:files?|documents?|pdfs?)(?: \w+){0,2} (?:is |are )?(?:not |un)(?:supported|allowed)"
    r"|(?:not|n't) support (?:\w+ ){0,2}(?:files?|documents?|pdfs?)\b",
    re.IGNORECASE,
)
AUDIO_REFUSED = re.compile(
    r"(?:variant|type|value|part|input)s?:? ['\"`]?(?:input_)?audio\b"
    r"|['\"`]?(?:input_)?audio['\"`]?(?: \w+){0,2} (?:is |are )?(?:not |un)(?:supported|allowed)"
    r"|(?:not|n't) support (?:\w+ ){0,2}(?:input_)?audio\b",
    re.IGNORECASE,
)
# ``max_completion_tokens`` as providers write it
NEW_LENGTH = re.compile(r"\bmax_?completion_?tokens\b", re.IGNORECASE)
OLD_LENGTH = re.compile(r"\bmax_?tokens\b", re.IGNORECASE)
DEVELOPER = re.compile(
    r"(?:variant|roles?|values?|tag)\W{1,5}developer\b"
    r"|\bdeveloper\W{0,3} ?(?:roles?|messages?)?\W{0,3}(?:is |are )?(?:not |un)\w+"
    # without naming it: an unknown role, or a list of those that are known
    r"|(?:unexpected|invalid|unknown|unsupported|incorrect) (?:message )?roles?\b|\brole param error"
    r"|\broles?\W{1,3} ?(?:has|is) (?:an )?invalid"
    r"|['\"`]system['\"`],? (?:or |and )?['\"`](?:user|assistant)['\"`]",
    re.IGNORECASE,
)
ADDRESS_REFUSED = re.compile(
    r"(?:failed|unable|could not|can(?:not| ?not)|error)(?: \w+){0,3} (?:download|fetch|retriev|access|load)"
    r"|(?:only|must be)(?: \w+){0,3} base64|(?:image )?urls?(?: \w+){0,2} (?:is |are )?(?:not |un)support"
    r"|not support (?:\w+ ){0,2}urls?\b|unsupported image url|(?:invalid|unsupported) (?:file )?uri",
    re.IGNORECASE,
)


def naming(names: str) -> re.Pattern[str]:
    """A field, by the pattern of its names, directly after the provider's own word for one: then it is no
    echo of a value."""
    return re.compile(
        rf"(?:supplied|arguments?|param(?:eter)?(?:\(s\)|s)?|fields?|name|property|inputs?|key)\W{{1,4}}"
        rf"(?:{names})(?![\w-])",
        re.IGNORECASE,
    )
