"""How much a model is to think: read from a client's request, written for a provider.

OpenAI's clients say a word (``reasoning_effort``), Anthropic's a budget of tokens or a word (``thinking``,
``output_config.effort``). Budgets and words are converted as the providers' own documentation does, roughly.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from chathub.formats.loose_json import as_object, as_string
from chathub.formats.quirks.table import Quirks
from chathub.schemas.json import JsonObject

# the words from the least effort to the most
EFFORTS = ("minimal", "low", "medium", "high", "xhigh", "max")
_BUDGETS = {"minimal": 1024, "low": 4096, "medium": 10_000, "high": 24_000, "xhigh": 32_000, "max": 32_000}
# the least budget of Anthropic, and what is left for the reply at least, in tokens
LEAST_BUDGET = 1024
_LEAST_REPLY = 1024
# Anthropic's field and OpenRouter's: the name of the budget in it, and how thinking is switched off
_BUDGETS_OF_FIELDS: Mapping[str, tuple[str, JsonObject]] = {
    "thinking": ("budget_tokens", {"type": "disabled"}),
    "reasoning": ("max_tokens", {"enabled": False}),
}
# part of a reply's length that is left for its text
_FAIR_PART = 4


class Effort(NamedTuple):
    """What was requested: ``thinks`` (None: nothing, the provider's default), and for how long, as a word or
    a budget in tokens, or neither."""

    thinks: bool | None = None
    word: str = ""
    budget: int | None = None

    @property
    def as_word(self) -> str:
        """The effort as a word; empty if neither was requested."""
        if self.word or self.budget is None:
            return self.word
        return next(word for word in ("low", "medium", "high") if self.budget < _ABOVE[word])

    def as_budget(self, otherwise: str = "medium") -> int:
        return self.budget if self.budget is not None else _BUDGETS[self.word or otherwise]


# budgets from which on another word is meant
_ABOVE = {"low": 8192, "medium": 16_384, "high": 2**63}


def requested(params: JsonObject) -> Effort:
    """The effort that a request's parameters ask for."""
    thinking = as_object(params.get("thinking"))
    word = as_string(params.get("reasoning_effort")) or as_string(params.get("effort"))
    if thinking.get("type") == "disabled" or word == "none":
        return Effort(thinks=False)
    budget = thinking.get("budget_tokens")
    budget = budget if isinstance(budget, int) and not isinstance(budget, bool) and budget > 0 else None
    if thinking.get("type") in ("enabled", "adaptive") or word in EFFORTS:
        return Effort(True, word if word in EFFORTS else "", budget)
    return Effort()


def nearest(word: str, words: tuple[str, ...]) -> str:
    """The word of a model that is nearest to an effort, rather less than more; empty if it knows none."""
    known = [each for each in words if each in EFFORTS]
    place = EFFORTS.index(word)
    return min(known, key=lambda each: (abs(EFFORTS.index(each) - place), EFFORTS.index(each)), default="")


def fitting(budget: int, max_tokens: int) -> int:
    """A budget for thinking within a reply's length, of which a part is left for the text; 0 if it is too
    little to think at all."""
    fits = min(budget, max_tokens - _reply_room(max_tokens))
    return fits if fits >= LEAST_BUDGET else 0


def _reply_room(max_tokens: int) -> int:
    """The part of a reply's length that is left for its text."""
    return max(_LEAST_REPLY, max_tokens // _FAIR_PART)


def lowered(params: JsonObject, max_tokens: int) -> JsonObject:
    """Parameters with a lower limit of the reply's length, and with a budget for thinking that fits in it."""
    asked, thinking = params.get("max_tokens"), as_object(params.get("thinking"))
    changed = {**params, "max_tokens": max_tokens}
    if "budget_tokens" in thinking and (not isinstance(asked, int) or max_tokens < asked):
        changed.pop("thinking")
        if smaller := smaller_thinking(thinking, max_tokens):
            changed["thinking"] = smaller
    return changed


def smaller_thinking(thinking: JsonObject, max_tokens: int) -> JsonObject:
    """Anthropic's ``thinking`` for a lower limit; empty if the model cannot think within it."""
    budget = thinking.get("budget_tokens")
    if not isinstance(budget, int):
        return thinking
    fits = fitting(budget, max_tokens)
    return {**thinking, "budget_tokens": fits} if fits else {}


def smaller_budgets(fields: JsonObject, max_tokens: int) -> JsonObject:
    """Fields in OpenAI's format for a lower limit: with budgets for thinking that fit in it. Where a model
    cannot think within it, thinking is switched off: it may be on without a budget."""
    better = dict(fields)
    for name, (inner, off) in _BUDGETS_OF_FIELDS.items():
        sent = as_object(fields.get(name))
        if (fits := _smaller(sent.get(inner), max_tokens)) is not None:
            better[name] = {**sent, inner: fits} if fits else off
    if (fits := _smaller(fields.get("thinking_budget"), max_tokens)) is not None:
        better["thinking_budget"] = fits
        if not fits:
            del better["thinking_budget"]
            better["enable_thinking"] = False
    return better


def _smaller(budget: Any, max_tokens: int) -> int | None:
    """A budget that fits in a limit, 0 for no thinking; None for one that fits already, and for no budget."""
    if not isinstance(budget, int) or isinstance(budget, bool):
        return None
    return None if budget <= max_tokens - _reply_room(max_tokens) else fitting(budget, max_tokens)


def openai_fields(params: JsonObject, quirks: Quirks) -> JsonObject:
    """The parameters of a request for a provider of OpenAI's format: Anthropic's fields become its own."""
    fields = {name: value for name, value in params.items() if name not in ("thinking", "effort")}
    effort = requested(params)
    if len(fields) == len(params) or effort.thinks is None:
        return fields
    word = nearest(effort.as_word or "medium", quirks.efforts)
    match quirks.thinking_field:
        case "reasoning_effort" if effort.thinks and word:
            fields["reasoning_effort"] = word
        case "reasoning_effort" if "none" in quirks.efforts:
            fields["reasoning_effort"] = "none"
        case "thinking":
            fields["thinking"] = {"type": "enabled" if effort.thinks else "disabled"}
            if effort.thinks and effort.as_word and word:
                fields["reasoning_effort"] = word
        case "enable_thinking":
            fields["enable_thinking"] = effort.thinks
            if effort.budget:
                fields["thinking_budget"] = effort.budget
        case "reasoning":
            fields["reasoning"] = _reasoning(effort, word)
    return fields


def _reasoning(effort: Effort, word: str) -> JsonObject:
    """OpenRouter's ``reasoning``."""
    if not effort.thinks:
        return {"enabled": False}
    if effort.budget and not effort.word:
        return {"max_tokens": effort.budget}
    return {"effort": word} if effort.word else {"enabled": True}


def gemini_thinking(params: JsonObject, quirks: Quirks, max_tokens: int | None) -> JsonObject:
    """Gemini's ``thinkingConfig``; empty for none."""
    effort = requested(params)
    config: JsonObject = {"includeThoughts": True} if quirks.includes_thoughts else {}
    if effort.thinks is None or not quirks.thinking_by:
        return config
    if quirks.thinking_by == "level":
        word = nearest((effort.as_word or "high") if effort.thinks else "minimal", quirks.levels)
        return {**config, "thinkingLevel": word} if word else config
    if not effort.thinks:
        return {"thinkingBudget": 0}
    budget = effort.as_budget()
    if max_tokens is not None:
        budget = min(budget, max_tokens - max_tokens // _FAIR_PART)
    # what all models of the series accept
    return {**config, "thinkingBudget": min(max(budget, 512), 24_576)}
