"""The providers that Mesh speaks to. Every outbound call of the server begins here."""
