INSERT OR IGNORE INTO terms (term, position) VALUES (?1, ?2)
