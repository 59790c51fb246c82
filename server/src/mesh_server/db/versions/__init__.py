"""Migrations, one file each. A file that was released is never changed: its checksum stands in every database."""
