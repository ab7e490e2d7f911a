"""The models of the platform: which there are, what they can do, and how they are found."""
