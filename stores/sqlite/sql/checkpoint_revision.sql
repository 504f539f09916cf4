SELECT revision FROM checkpoints WHERE name = ?1
