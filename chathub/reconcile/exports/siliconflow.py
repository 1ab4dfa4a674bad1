"""SiliconFlow's bill as CSV, from cloud.siliconflow.cn (费用账单): a row for each billed item of a request.

The item is a model and a kind of token: ``qwen/qwen3-8b.online.input-tokens``; models are written in small
letters, the free ones together as ``free-text-model``. Times are those of China, amounts yuan with four
decimals. API keys are not in it. docs.siliconflow.cn/cn/faqs/misc_finance
"""

from collections.abc import Iterable, Iterator
from datetime import timedelta, timezone
from decimal import Decimal

from chathub.reconcile.charges import Charge, Shape, Spending
from chathub.reconcile.rows import Row

_CHINA = timezone(timedelta(hours=8))
_ITEM, _TIME, _COST = "计费项", "费用发生时间", "计费金额"
_USED, _UNIT, _BILLED, _PRICE = "计费项原始用量", "用量单位", "资源包抵扣后余量", "计费项单价"
_UNITS = {"tokens": 1, "k tokens": 1000, "m tokens": 1_000_000}


def read_bill(rows: Iterable[Row]) -> Iterator[Charge]:
    for row in rows:
        model, _, kind = row.text(_ITEM).rpartition(".")
        is_tokens = kind.endswith("-tokens")
        usage = _tokens(row, kind) if is_tokens else Spending()
        usage.cost = _cost(row)
        name = model.rpartition(".")[0] or model if is_tokens else row.text(_ITEM)
        yield Charge(row, usage, row.moment(_TIME, _CHINA), None, (), name, "CNY")


def _tokens(row: Row, kind: str) -> Spending:
    used, unit = row.amount(_USED), _UNITS.get(row.text(_UNIT).lower())
    if used is None or unit is None:
        return Spending()
    tokens = round(used * unit)
    if kind == "output-tokens":
        return Spending(prompt=0, cached=0, completion=tokens)
    return Spending(prompt=tokens, cached=tokens if kind.startswith("cached") else 0, completion=0)


def _cost(row: Row) -> Decimal | None:
    """What was charged. The file rounds it: the product of use and price counts where it rounds to the
    same."""
    shown, used, price = row.amount(_COST), row.amount(_BILLED), row.amount(_PRICE)
    if shown is None or used is None or price is None:
        return shown
    product = used * price
    last_place = Decimal(1).scaleb(int(shown.as_tuple().exponent))
    return product if abs(product - shown) < last_place else shown


SHAPES = (Shape("SiliconFlow bill", "siliconflow", frozenset({_ITEM, _TIME, _COST}), read_bill),)
