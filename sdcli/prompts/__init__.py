"""Where prompts come from: readers that yield them, and hand over in one go what has arrived."""
