"""Tools of the house: what makes the files that nobody writes by hand. Not part of the package."""
