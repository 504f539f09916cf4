SELECT value FROM meta WHERE name = 'revision'
