"""Records, workflows and names of other programs, mapped to ours and back."""
