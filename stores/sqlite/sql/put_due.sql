INSERT INTO due (tenant, queue, id, due, body) VALUES (?1, ?2, ?3, ?4, ?5)
ON CONFLICT (tenant, queue, id) DO UPDATE SET due = excluded.due, body = excluded.body
