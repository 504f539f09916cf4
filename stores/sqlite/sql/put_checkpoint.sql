INSERT INTO checkpoints (name, revision, watermark, settled) VALUES (?1, ?2, ?3, ?4)
ON CONFLICT (name) DO UPDATE
SET revision = excluded.revision, watermark = excluded.watermark, settled = excluded.settled
