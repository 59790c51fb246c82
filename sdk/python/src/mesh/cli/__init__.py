"""The commands of the client, one file per group; `click` and `rich` are imported here and nowhere else."""
