SELECT bytes FROM blobs WHERE tenant = ?1 AND name = ?2
