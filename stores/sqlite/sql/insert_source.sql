INSERT INTO sources (name) VALUES (?1)
