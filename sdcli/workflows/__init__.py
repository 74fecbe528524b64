"""Operations that take more than one run, or more than one file."""
