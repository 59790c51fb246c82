"""What was spent, and limits of what may be."""
