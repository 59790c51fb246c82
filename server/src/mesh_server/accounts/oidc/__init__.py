"""Logins by OpenID Connect issuers: who they are, their keys, and whether a token is one of theirs."""
