"""Short names of models; they mean the same for ever."""

#: Alias → the provider's own name.
ALIASES = {
    "claude": "claude-3-5-sonnet-20241022",
    "claude-37": "claude-3-7-sonnet-20250219",
    "claude-35": "claude-3-5-sonnet-20241022",
    "claude-35-haiku": "claude-3-5-haiku-20241022",
    "claude-3": "claude-3-opus-20240229",
    "claude-opus": "claude-3-opus-20240229",
    "claude-sonnet": "claude-3-sonnet-20240229",
    "claude-haiku": "claude-3-haiku-20240307",
}


def resolve(name: str) -> str:
    """Return the model that an alias means, whatever its case and spaces; every other name as it is."""
    found = ALIASES.get(name)
    if found is not None:
        return found
    words = name.lower().split()
    return ALIASES.get("".join(words)) or ALIASES.get("-".join(words)) or name
