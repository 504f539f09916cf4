SELECT tenant_id, name FROM streams WHERE stream_id = ?1
