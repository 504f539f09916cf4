SELECT name, revision, watermark, settled FROM checkpoints ORDER BY name
