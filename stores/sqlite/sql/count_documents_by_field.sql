SELECT count(*) FROM document_fields
WHERE tenant = ?1 AND namespace = ?2 AND field = ?6 AND value = ?7
  AND id >= ?3 AND id > ?4 AND (?5 IS NULL OR id < ?5)
