INSERT INTO streams (tenant_id, name) VALUES (?1, ?2)
