INSERT INTO documents (tenant, namespace, id, version, indexed, value) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
ON CONFLICT (tenant, namespace, id) DO UPDATE
SET version = excluded.version, indexed = excluded.indexed, value = excluded.value
