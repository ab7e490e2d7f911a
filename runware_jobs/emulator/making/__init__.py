"""How the files of finished items are made. `studio` decides which; every other module makes one sort."""
