"""Quirks: what single providers and models require or refuse within a format, as a table.

Sources: the providers' API references and migration guides, and the refusals they were recorded to send
(OpenAI's ``unsupported_parameter`` and ``unsupported_value``, DashScope's ``enable_thinking``, Mistral's
``extra_forbidden``). Further quirks are learned from refusals (``quirk_learning``).
"""

import re
from functools import lru_cache
from typing import Any, Literal, NamedTuple

from msgspec import Struct

from chathub.schemas.json import JsonObject

Back = Literal["given", "never", "always"]

SAMPLING = ("temperature", "top_p", "top_k", "presence_penalty", "frequency_penalty")


class Quirks(Struct, frozen=True):
    """How requests for one model at one host must be encoded. The defaults suit nearly all of them.

    ``sends_temperature``: whether the parameters in ``SAMPLING`` may be sent. ``system_role``: the role of
    instructions (``user``: they are put before the first user message). ``takes_extensions``: the provider
    ignores fields of other APIs (``thinking``, ``top_k``) and does not refuse them. ``streams_only``: it
    responds with a stream only. ``thinking_off_when_not_streaming``: without a stream, thinking must be
    switched off. ``default_max_tokens``: the length of a reply, in tokens, where the API requires one and
    none was set. ``includes_thoughts``: the model sends its thoughts on request. ``signs_calls``: a tool call
    of the history without its signature is refused. ``gives_media``: replies may contain images or audio.
    ``takes_files`` and ``takes_audio``: whether documents and recordings may be sent; ``takes_addresses``:
    whether the provider fetches images by their address. ``most_stops``: how
    many stop sequences may be sent (0: no limit is known). ``left_out``: fields that the provider refuses.
    In OpenAI's format ``takes_marks``: whether a client's markers for the cache of prompts may be sent;
    ``marks_cache``: whether ChatHub sets them itself; ``takes_cache_key``: whether ``prompt_cache_key`` is
    known.
    ``knows_developer``: whether the role is known that OpenAI has in place of ``system``. ``takes_strict``:
    whether ``strict`` of tools may be sent; ``drops_strict``: not in this request, for its schemas do not
    allow it.

    What goes back with assistant messages, to the model that gave it, to no model, or in any case:
    ``reasoning_back`` (with tool calls: reasoning as ``reasoning_content``, in Anthropic's format as unsigned
    thinking), ``signatures_back`` (Google's, in OpenAI's format), ``details_back`` (OpenRouter's).
    ``drops_state``: nothing of it goes back, for it was refused in this request.

    How thinking is requested. OpenAI's format: ``thinking_field`` (``thinking`` is DeepSeek's, ``reasoning``
    OpenRouter's; empty: not at all) with the words of ``efforts``. Anthropic's: ``thinks_adaptively`` (the
    model takes one of ``adaptive_efforts`` and no budget, unless ``takes_budget``), ``refuses_adaptive`` (it
    takes a budget only),
    ``thinks_unasked`` (it thinks unless that is switched off). Gemini's: ``thinking_by`` a budget, or one of
    ``levels``; empty: neither.

    ``responses``: whether the provider has OpenAI's Responses besides Chat Completions; in them a model that
    ``encrypts_reasoning`` sends it on request.
    """

    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    sends_temperature: bool = True
    system_role: Literal["system", "developer", "user"] = "system"
    stream_options: bool = True
    takes_extensions: bool = True
    streams_only: bool = False
    thinking_off_when_not_streaming: bool = False
    key_header: Literal["bearer", "api-key"] = "bearer"
    default_max_tokens: int = 8192
    includes_thoughts: bool = False
    signs_calls: bool = False
    gives_media: bool = False
    takes_files: bool = True
    takes_audio: bool = True
    takes_addresses: bool = True
    most_stops: int = 0
    left_out: tuple[str, ...] = ()
    takes_marks: bool = False
    marks_cache: bool = False
    takes_cache_key: bool = False
    knows_developer: bool = True
    takes_strict: bool = True
    drops_strict: bool = False
    reasoning_back: Back = "given"
    signatures_back: Back = "given"
    details_back: Back = "given"
    drops_state: bool = False
    thinking_field: Literal["", "reasoning_effort", "thinking", "enable_thinking", "reasoning"] = (
        "reasoning_effort"
    )
    efforts: tuple[str, ...] = ("low", "medium", "high")
    thinks_adaptively: bool = False
    takes_budget: bool = False
    refuses_adaptive: bool = False
    adaptive_efforts: tuple[str, ...] = ("low", "medium", "high", "max")
    thinks_unasked: bool = False
    thinking_by: Literal["", "budget", "level"] = ""
    levels: tuple[str, ...] = ("minimal", "low", "medium", "high")
    responses: Literal["unknown", "offered", "missing"] = "unknown"
    encrypts_reasoning: bool = False


class _Row(NamedTuple):
    """``hosts``: names or the ends of names, none for every host; ``model``: found anywhere in the name."""

    hosts: tuple[str, ...]
    model: re.Pattern[str] | None
    changes: JsonObject


_EVERYWHERE: tuple[str, ...] = ()
_OPENAI = ("api.openai.com", "openai.azure.com", "services.ai.azure.com")
_DASHSCOPE = ("aliyuncs.com", "api-inference.modelscope.cn")
_GEMINI = ("generativelanguage.googleapis.com",)
_DEEPSEEK = ("deepseek.com",)
_MOONSHOT = ("moonshot.cn", "moonshot.ai", "kimi.com")
_ARK = ("volces.com", "bytepluses.com")
_THINKING_SWITCH = (*_DEEPSEEK, *_MOONSHOT, *_ARK, "bigmodel.cn", "z.ai")
_OPENROUTER = ("openrouter.ai",)
_XAI = ("x.ai",)
_FIVE = ("low", "medium", "high", "xhigh", "max")


def _row(hosts: tuple[str, ...], model: str, **changes: Any) -> _Row:
    return _Row(hosts, re.compile(model) if model else None, changes)


# merged from first to last
_TABLE = (
    # these respond to stream_options with 422, or report the usage in any case
    _row(("mistral.ai", "perplexity.ai"), "", stream_options=False),
    _row(("openai.azure.com", "services.ai.azure.com"), "", key_header="api-key"),
    _row(_OPENAI, r"^(o\d|gpt-[5-9])(?![a-z0-9])", max_tokens_field="max_completion_tokens"),
    _row(_OPENAI, "", takes_extensions=False, most_stops=4),
    # gpt-5.1 and later accept a temperature unless thinking is requested, and so does the chat model
    _row(_OPENAI, r"^(o\d|gpt-5)(?![a-z0-9.])(?!-chat)", sends_temperature=False),
    _row(_OPENAI, r"^o1-(mini|preview)", system_role="user"),
    _row(_DASHSCOPE, r"(?i)qwen3-[\d.]+b(-a[\d.]+b)?$", thinking_off_when_not_streaming=True),
    _row(_DASHSCOPE, r"(?i)\b(qwq|qvq)|qwen.*-(thinking|omni)", streams_only=True),
    _row(_EVERYWHERE, r"claude-(2|instant|3-(opus|sonnet|haiku))", default_max_tokens=4096),
    _row(_EVERYWHERE, r"claude-(3-7|[a-z]+-[4-9])", default_max_tokens=32_000),
    # since Opus 4.7 any temperature but the default is refused
    _row(("api.anthropic.com",), r"claude-(opus-4-[7-9]|[a-z]+-[5-9])", sends_temperature=False),
    _row(_EVERYWHERE, r"gemini-(2\.5|[3-9]|(pro|flash|flash-lite)-latest)", includes_thoughts=True),
    _row(_EVERYWHERE, r"gemini-.*(image|tts|audio|live|computer|embedding)", includes_thoughts=False),
    _row(_EVERYWHERE, r"gemini-([3-9]|(pro|flash|flash-lite)-latest)", signs_calls=True),
    _row(_GEMINI, r"gemma-[1-3]", system_role="user"),
    _row(_GEMINI, "", most_stops=5),
    # reasoning that goes back
    _row((*_DEEPSEEK, *_MOONSHOT), "", reasoning_back="always"),
    _row(_GEMINI, r"gemini-([3-9]|(pro|flash|flash-lite)-latest)", signatures_back="always"),
    _row(_OPENROUTER, "", details_back="always"),
    # caches of prompts
    _row(("api.openai.com",), "", takes_cache_key=True),
    _row((*_OPENROUTER, "aliyuncs.com"), "", takes_marks=True),
    _row(_EVERYWHERE, r"(?i)claude", takes_marks=True),
    _row(_OPENROUTER, r"(?i)claude", marks_cache=True),
    # how thinking is requested
    _row(_OPENAI, r"^(o\d|gpt-5)(?![a-z0-9.])", efforts=("minimal", "low", "medium", "high")),
    _row(_OPENAI, r"^o\d", efforts=("low", "medium", "high")),
    _row(_OPENAI, r"^gpt-(5\.\d|[6-9])", efforts=("none", "low", "medium", "high")),
    _row(_OPENAI, r"^gpt-(5\.[2-9]|[6-9])|codex-max", efforts=("none", "low", "medium", "high", "xhigh")),
    _row(_THINKING_SWITCH, "", thinking_field="thinking", efforts=()),
    _row(_DEEPSEEK, "", efforts=("high", "max")),
    _row(_ARK, "", efforts=("minimal", "low", "medium", "high")),
    _row((*_DASHSCOPE, "siliconflow.cn", "siliconflow.com"), "", thinking_field="enable_thinking"),
    _row(_OPENROUTER, "", thinking_field="reasoning", efforts=("minimal", "low", "medium", "high", "xhigh")),
    _row(("mistral.ai", "perplexity.ai"), "", thinking_field=""),
    _row(_EVERYWHERE, r"claude-(opus|sonnet)-4-6", thinks_adaptively=True, takes_budget=True),
    # these accept no budget
    _row(
        _EVERYWHERE,
        r"claude-(opus-4-[7-9]|[a-z]+-[5-9]|mythos|fable)",
        thinks_adaptively=True,
        adaptive_efforts=_FIVE,
    ),
    _row(_EVERYWHERE, r"claude-([a-z]+-[5-9]|mythos|fable)", thinks_unasked=True),
    _row(_EVERYWHERE, r"gemini-2\.5", thinking_by="budget"),
    _row(_EVERYWHERE, r"gemini-([3-9]|(pro|flash|flash-lite)-latest)", thinking_by="level"),
    _row(_EVERYWHERE, r"gemini-3-pro", levels=("low", "high")),
    _row(_EVERYWHERE, r"gemini-3\.\d+-pro|gemini-pro-latest", levels=("low", "medium", "high")),
    _row(_EVERYWHERE, r"gemini-.*(image|tts|audio|live|computer|embedding)", thinking_by=""),
    _row(_EVERYWHERE, r"(?i)(gemini|gpt)-.*(image|audio|tts|live|realtime)|-omni\b", gives_media=True),
    # which API there is
    _row((*_OPENAI, *_XAI, *_OPENROUTER, "groq.com", "fireworks.ai"), "", responses="offered"),
    _row((*_DEEPSEEK, *_MOONSHOT, *_GEMINI, "bigmodel.cn", "z.ai"), "", responses="missing"),
    _row(("siliconflow.cn", "siliconflow.com", "mistral.ai"), "", responses="missing"),
    _row(_OPENAI, r"^(o\d|gpt-[5-9]|codex)(?![a-z0-9])(?!.*-chat)", encrypts_reasoning=True),
    _row(_XAI, r"^grok-([4-9]|code)(?!.*non-reasoning)", encrypts_reasoning=True),
    _row(_OPENROUTER, r"(^|/)(o\d|gpt-[5-9]|grok-4)(?![a-z0-9])(?!.*-chat)", encrypts_reasoning=True),
)  # fmt: skip


@lru_cache(1024)
def quirks_of(host: str, model: str) -> Quirks:
    """The quirks in the table. ``host`` as ``urls.hostname`` gives it, ``model`` as it is sent."""
    changes: JsonObject = {}
    for row in _TABLE:
        if _is_at(host, row.hosts) and (row.model is None or row.model.search(model)):
            changes |= row.changes
    return Quirks(**changes)


def _is_at(host: str, names: tuple[str, ...]) -> bool:
    if not names:
        return True
    return any(host.endswith(name) and host[: -len(name)][-1:] in ("", ".") for name in names)
