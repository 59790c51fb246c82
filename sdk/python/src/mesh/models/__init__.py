"""What is known of models without asking: their names, what they can, what they cost, and which is best for what."""
