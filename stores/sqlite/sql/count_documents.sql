SELECT count(*) FROM documents
WHERE tenant = ?1 AND namespace = ?2 AND id >= ?3 AND id > ?4 AND (?5 IS NULL OR id < ?5)
