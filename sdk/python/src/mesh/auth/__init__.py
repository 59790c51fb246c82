"""Login: who a client is to its server, found, asked for, kept and renewed. Import its modules; this imports none."""
