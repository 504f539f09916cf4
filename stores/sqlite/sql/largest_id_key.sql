SELECT max(id_key) FROM ids
