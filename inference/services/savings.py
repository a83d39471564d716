"""What answers that were given again have saved, by model, for operators."""

from inference import selectors
from inference.models import Model
from inference.pricing import cost
from inference.types import SavingView, TokenUsage
from tenants.services import CachedSums, summarise_cached


def list_savings() -> list[SavingView]:
    """Of every model whose answers may be given again, or were in the last 24 hours, over all tenants; by its id.

    What was saved is reckoned by today's price of the model.
    """
    sums = summarise_cached()
    given = [model for model, each in sums.items() if each.given_again]
    rows = Model.objects.filter(cache_seconds__gt=0) | Model.objects.filter(model_id__in=given)
    found = list(rows.order_by("model_id"))
    prices = selectors.prices_of(found)
    return [_view(row, prices[row.id], sums.get(row.model_id, CachedSums(0))) for row in found]


def _view(row: Model, price: tuple[int, int], sums: CachedSums) -> SavingView:
    full = cost(
        TokenUsage(sums.prompt_tokens, sums.completion_tokens),
        input_price_nano=price[0],
        output_price_nano=price[1],
    )
    return SavingView(
        model=row.model_id,
        calls=sums.calls,
        given_again=sums.given_again,
        given_alike=sums.given_alike,
        saved_tokens=sums.prompt_tokens + sums.completion_tokens,
        # A price that has fallen since is no loss.
        saved_cost_nano=max(0, full - sums.cost_nano),
    )
