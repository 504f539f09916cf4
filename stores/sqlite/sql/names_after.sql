SELECT name_id, tenant_id, name FROM names WHERE name_id > ?1 ORDER BY name_id
