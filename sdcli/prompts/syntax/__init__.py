"""Read the language of prompts: weights, parts, schedules and combinations, as A1111 has them."""
