SELECT version, indexed, value FROM documents WHERE tenant = ?1 AND namespace = ?2 AND id = ?3
