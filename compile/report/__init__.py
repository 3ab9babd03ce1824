"""The page and the table that a compilation ends with: size, speed and accuracy of every variant."""
