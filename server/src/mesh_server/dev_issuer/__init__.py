"""`mesh-server dev --dev-issuer`: a small OpenID issuer for one machine.

It has no passwords. Whoever can read the server's console, where a one-time code appears, may log in under any name.
That is why it runs on loopback only, beside no real issuer, and never under `mesh-server serve`.
"""
