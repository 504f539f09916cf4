SELECT tenant_id, name FROM tenants WHERE tenant_id > ?1 ORDER BY tenant_id
