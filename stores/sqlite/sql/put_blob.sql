INSERT INTO blobs (tenant, name, bytes) VALUES (?1, ?2, ?3)
ON CONFLICT (tenant, name) DO UPDATE SET bytes = excluded.bytes
