INSERT INTO documents (tenant, namespace, id, version, indexed, value) VALUES (?1, ?2, ?3, ?4, NULL, ?5)
ON CONFLICT (tenant, namespace, id) DO UPDATE SET version = excluded.version, value = excluded.value
WHERE documents.indexed IS NULL
