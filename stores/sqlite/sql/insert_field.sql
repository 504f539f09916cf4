INSERT OR IGNORE INTO document_fields (tenant, namespace, field, value, id) VALUES (?1, ?2, ?3, ?4, ?5)
