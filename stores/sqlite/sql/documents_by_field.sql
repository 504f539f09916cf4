SELECT f.id, d.version, d.value FROM document_fields f
JOIN documents d ON d.tenant = f.tenant AND d.namespace = f.namespace AND d.id = f.id
WHERE f.tenant = ?1 AND f.namespace = ?2 AND f.field = ?7 AND f.value = ?8
  AND f.id >= ?3 AND f.id > ?4 AND (?5 IS NULL OR f.id < ?5) ORDER BY f.id LIMIT ?6
