"""`mesh keys`: the group; the commands are in the files beside."""

import click

from mesh.cli._lazy import lazy

_COMMANDS = {
    "set": ("keys_values", "set_", "Store a value, as a new version where the key is there."),
    "get": ("keys_values", "get", "Read a value: masked on a terminal, as it is in a pipe."),
    "list": ("keys_list", "list_", "List keys, without their values."),
    "rm": ("keys_values", "rm", "Delete keys; they can be restored for a while."),
    "restore": ("keys_values", "restore", "Take a deletion back."),
    "versions": ("keys_list", "versions", "List the versions of a key."),
    "rollback": ("keys_values", "rollback", "Make an earlier version's value the current one."),
    "test": ("keys_tests", "test", "Ask the provider whether a stored key works."),
    "share": ("keys_sharing", "share", "Let somebody use, read or change keys of yours."),
    "unshare": ("keys_sharing", "unshare", "Take a share back."),
    "shares": ("keys_sharing", "shares", "List what you share, or what is shared with you."),
    "import": ("keys_files", "import_", "Store the entries of a .env file, or of the environment."),
    "export": ("keys_files", "export", "Write keys as a .env file or as JSON."),
}


@click.group(cls=lazy(_COMMANDS))
def keys() -> None:
    """Keep keys and other secrets in the vault.

    A value comes from a prompt, a file or stdin, and is shown only where you ask for it.
    """
