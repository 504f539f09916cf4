INSERT INTO names (name_id, tenant_id, name) VALUES (?1, ?2, ?3)
