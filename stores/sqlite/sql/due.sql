SELECT tenant, id, due, body FROM due
WHERE queue = ?1 AND due <= ?2 AND (?3 IS NULL OR tenant = ?3) ORDER BY due, id, tenant LIMIT ?4
