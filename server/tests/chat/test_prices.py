"""What a call costs: the providers' documented examples, tiers, dates, and an operator's own prices."""

from datetime import date

import pytest

from mesh_server.chat.catalog.prices import PriceList, Prices, cost
from mesh_server.chat.formats.common import Usage
from mesh_server.errors import StartupError

TODAY = date(2026, 11, 25)
OPENAI, ANTHROPIC = "https://api.openai.com/v1", "https://api.anthropic.com"
M = 1_000_000
LIST = PriceList()


@pytest.mark.parametrize(
    ("address", "model", "usage", "dollars"),
    [
        # platform.claude.com/docs, pricing: input and output for a million tokens
        (ANTHROPIC, "claude-opus-5-5", Usage(input=M, output=M), 24.0),
        (ANTHROPIC, "claude-sonnet-5-5", Usage(input=M, output=M), 12.0),
        # the same page, prompt caching: 5-minute writes 1.25 times, 1-hour writes twice the price of input, reads of
        # Opus 5 a tenth of it
        (ANTHROPIC, "claude-opus-5", Usage(input=M, cache_write=M), 6.25),
        (ANTHROPIC, "claude-opus-5", Usage(input=M, cache_write=M, cache_write_long=M), 10.0),
        (ANTHROPIC, "claude-opus-5", Usage(input=M, cached=M), 0.5),
        (ANTHROPIC, "claude-opus-5", Usage(input=3 * M, cached=M, cache_write=M, output=M), 5 + 0.5 + 6.25 + 25),
        # the same page, long context of Haiku 5.5: beyond 100,000 tokens everything at the higher rate
        (ANTHROPIC, "claude-haiku-5-5", Usage(input=100_000, output=1000), 0.01 + 0.0005),
        (ANTHROPIC, "claude-haiku-5-5", Usage(input=100_001, output=1000), 0.0500005 + 0.0025),
        # developers.openai.com/api/docs, models, GPT-6.1 Sol: input, cached 5 %, writes 1.25 times, output
        (OPENAI, "gpt-6.1-sol", Usage(input=100_000, output=10_000), 0.2 + 0.1),
        (OPENAI, "gpt-6.1-sol", Usage(input=100_000, cached=100_000), 0.01),
        (OPENAI, "gpt-6.1-sol", Usage(input=100_000, cache_write=100_000), 0.25),
        # the same page: more than 272,000 tokens of input double input and caches, and output costs half more
        (OPENAI, "gpt-6.1-sol", Usage(input=300_000, output=10_000), 1.2 + 0.15),
        # developers.openai.com/api/docs, models, GPT-6.2 Sol: a write that is kept for 12 hours
        (OPENAI, "gpt-6.2-sol", Usage(input=100_000, cache_write=100_000, cache_write_long=100_000), 0.5),
        # thinking is output on both sides
        (OPENAI, "gpt-4o", Usage(input=1000, output=1000, thinking=900), 0.0025 + 0.01),
        (OPENAI, "text-embedding-3-small", Usage(input=M), 0.02),
    ],
)
def test_a_call_costs_what_its_provider_says(address, model, usage, dollars):
    prices = LIST.of(address, "x", model, today=TODAY)
    assert cost(prices, usage) == round(dollars * 10**9)


def test_a_single_token_is_counted_exactly():
    prices = LIST.of(OPENAI, "openai", "gpt-4o", today=TODAY)
    assert cost(prices, Usage(input=1)) == 2500
    assert cost(prices, Usage()) == 0


def test_a_price_holds_from_its_day_on():
    before = LIST.of(OPENAI, "openai", "o3", today=date(2025, 5, 1))
    after = LIST.of(OPENAI, "openai", "o3", today=TODAY)
    assert before.input == 5 * after.input


def test_a_tier_of_service_has_its_own_price():
    standard, flex, unknown = (
        LIST.of(OPENAI, "openai", "gpt-6.1-sol", today=TODAY, tier=t) for t in (None, "flex", "odd")
    )
    assert cost(flex, Usage(input=1000)) * 2 == cost(standard, Usage(input=1000))
    assert unknown == standard


def test_anthropics_fast_mode_has_its_own_price():
    standard, fast = (LIST.of(ANTHROPIC, "x", "claude-opus-5", today=TODAY, tier=t) for t in (None, "fast"))
    assert fast.input > standard.input


@pytest.mark.parametrize(
    ("address", "model"), [("http://127.0.0.1:1", "gpt-4o"), (OPENAI, "no-such-model"), ("x" + OPENAI, "gpt-4o")]
)
def test_what_is_not_known_has_no_price(address, model):
    assert LIST.of(address, "x", model, today=TODAY) is None


def test_many_providers_are_known_by_their_address():
    assert LIST.of("https://api.groq.com/openai/v1", "g", "llama-3.3-70b-versatile", today=TODAY).input > 0
    assert LIST.revision.startswith("genai-prices ")


def test_kinds_without_a_price_cost_as_input():
    assert cost(Prices(input=10 * M, output=0), Usage(input=3, cached=1, cache_write=1)) == 30


def test_an_operators_own_prices_come_first(tmp_path):
    file = tmp_path / "prices.toml"
    file.write_text(
        'revision = "contract 2026"\n[prices."gpt-4o"]\ninput = 1.5\noutput = 2\n[prices."acme/m"]\ninput = 0.001\n'
    )
    own = PriceList(file)
    assert "contract 2026" in own.revision
    assert cost(own.of(OPENAI, "openai", "gpt-4o", today=TODAY), Usage(input=2, output=1)) == 5000
    assert own.of("http://x", "acme", "m", today=TODAY).input == M
    assert own.of("http://x", "other", "m", today=TODAY) is None


@pytest.mark.parametrize("content", [b"prices = 5", b"not toml [", b'revision = "x"\nother = 1', b"\xff"])
def test_prices_that_can_not_be_read_are_told_at_the_start(tmp_path, content):
    file = tmp_path / "prices.toml"
    file.write_bytes(content)
    with pytest.raises(StartupError, match="MESH_PRICES_FILE"):
        PriceList(file)
    with pytest.raises(StartupError, match="MESH_PRICES_FILE"):
        PriceList(tmp_path / "missing.toml")
