SELECT epoch, owner, until, node FROM leases WHERE name = ?1
