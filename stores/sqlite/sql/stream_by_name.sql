SELECT stream_id FROM streams WHERE tenant_id = ?1 AND name = ?2
