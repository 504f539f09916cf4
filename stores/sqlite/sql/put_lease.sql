INSERT INTO leases (name, epoch, owner, until, node) VALUES (?1, ?2, ?3, ?4, ?5)
ON CONFLICT (name) DO UPDATE
SET epoch = excluded.epoch, owner = excluded.owner, until = excluded.until, node = excluded.node
