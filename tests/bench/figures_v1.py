"""Figure 9: /v1 for existing clients: bytes forwarded between OpenAI formats, and formats translated."""

from functools import partial

from figures_requests import Plan, Stage, in_turns, spent, stage
from load import Connection, forwarded, message, over, repeat
from processes import Process
from table import Figure, ratio

_SHORT = 8
_STREAMS = 20
_QUESTION = [{"role": "user", "content": "Why is the sky blue?"}]


def _v1(here: Stage, model: str, *, path: str = "/v1/chat/completions", stream: bool = True) -> bytes:
    options = {"stream_options": {"include_usage": True}} if stream and path.endswith("completions") else {}
    body = {"model": model, "messages": _QUESTION, "stream": stream, "max_tokens": 100_000, **options}
    return message("POST", path, here.hub.token, body)


async def _read(process: Process, request: bytes, streams: int) -> None:
    async def one(connection: Connection) -> None:
        answer = await connection.ask(request)
        whole = (b"[DONE]", b'"type":"end"', b"message_stop")
        if answer.status != 200 or not any(end in answer.body for end in whole):
            raise RuntimeError(f"a stream broke off: {answer.body[-300:].decode(errors='replace')}")

    await over(process.port, streams, one)


async def v1(plan: Plan) -> list[Figure]:
    """CPU per chunk through /v1, forwarded (against the bare forwarder) and translated to Anthropic's shape
    (against /api/chat/stream); CPU per whole JSON answer."""
    long = plan.pick(300, 150, 2 * _SHORT)
    streams = plan.pick(_STREAMS, _STREAMS, 2)
    async with stage(plan, "v1") as here:
        models = [f"bench-{length}-5-1" for length in (_SHORT, long)]
        for model in models:
            await here.hub.offer(model)
        ways = (
            (here.ours, lambda model: _v1(here, model)),
            (here.theirs, lambda model: forwarded(model, stream=True)),
            (here.ours, lambda model: _v1(here, model, path="/v1/messages")),
            (here.ours, lambda model: here.hub.chat(model, stream=True)),
        )
        kinds = [
            partial(spent, process, partial(_read, process, request(model), streams), streams)
            for process, request in ways
            for model in models
        ]
        rounds = await in_turns(min(plan.rounds, 5), *kinds)
        slopes = [
            [(b - a) / (long - _SHORT) for a, b in zip(*rounds[at : at + 2], strict=True)]
            for at in range(0, len(rounds), 2)
        ]
        return [
            ratio("CPU per /v1 chunk forwarded, one per read", slopes[0], slopes[1], 1.15),
            ratio("CPU per chunk translated, against /api", slopes[2], slopes[3], 1.5),
            await _whole(plan, here),
        ]


async def _whole(plan: Plan, here: Stage) -> Figure:
    count, model = plan.pick(160, 60, 4), "bench-8-0-8"
    await here.hub.offer(model)
    ask, forward = _v1(here, model, stream=False), forwarded(model, stream=False)
    ours, theirs = await in_turns(
        plan.rounds,
        lambda: spent(here.ours, lambda: repeat(here.ours.port, ask, count, 4), count),
        lambda: spent(here.theirs, lambda: repeat(here.theirs.port, forward, count, 4), count),
    )
    return ratio("CPU per /v1 JSON answer, 4 at once", ours, theirs, 2.5)
