INSERT OR IGNORE INTO ids (id_key, position, before, after, evidence) VALUES (?1, ?2, ?3, ?4, ?5)
