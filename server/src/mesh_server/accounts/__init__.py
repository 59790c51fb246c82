"""Accounts: who is calling, and by which credential that is proven."""
