"""`mesh models`: what can be used here, at which price."""

from collections.abc import Sequence

import click
import msgspec

from mesh.cli._options import connected, json_option, show_json, table
from mesh.cli._target import server_option
from mesh.models.catalog import Model, today, usable


@click.command()
@click.argument("word", required=False)
@click.option("--provider", help="Only this one's.")
@click.option("--retired", is_flag=True, help="Also those that their provider has retired.")
@json_option
@server_option
def models(word: str | None, provider: str | None, retired: bool, as_json: bool, server: str | None) -> None:
    """List the models that you can use; with WORD, those with it in their names.

    Prices are US dollars for a million tokens. What is not known is left empty.

    \b
    Examples:
      mesh models
      mesh models claude --retired
      mesh models --json | jq -r '.[].id'
    """
    with connected(server) as client:
        found = usable(dict(client.get_models()))
    chosen = [
        model
        for model in found
        if (word or "").lower() in model.id.lower()
        and provider in {None, model.provider}
        and (retired or model.in_service(today()))
    ]
    if as_json:
        show_json([msgspec.to_builtins(model) for model in chosen])
        return
    table([_row(model) for model in chosen], ("Provider", "Model", "In", "Out", "Context", "Retired", "Successor"))
    if not chosen:
        click.echo(_nothing(found), err=True)


def _row(model: Model) -> tuple[str, ...]:
    return (
        model.provider,
        model.id,
        _price(model.input_usd),
        _price(model.output_usd),
        "" if model.context is None else f"{model.context:,}",
        "" if model.retired is None else str(model.retired),
        model.successor or "",
    )


def _price(usd: float | None) -> str:
    return "" if usd is None else f"{usd:g}"


def _nothing(found: Sequence[Model]) -> str:
    if found:
        return "None of the models that you can use is so."
    return "There is no model that you can use yet: store a provider's key, such as `mesh keys set openai_key`."
