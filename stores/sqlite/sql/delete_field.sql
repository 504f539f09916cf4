DELETE FROM document_fields
WHERE tenant = ?1 AND namespace = ?2 AND field = ?3 AND value = ?4 AND id = ?5
