SELECT revision, watermark, settled FROM checkpoints WHERE name = ?1
