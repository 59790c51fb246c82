"""Who is calling: accounts, API tokens and the principal that every other capability works for."""
